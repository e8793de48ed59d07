"""Choosing and drawing the images on the page of `check`, each next to its segments with colors and names.

Issues stay visible: pixels that are drawn but not listed, and segments of unknown categories, are labeled too.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic.data.decoding import decode_image
from panoptic.data.image_header import read_header
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import MAX_ID, VOID, decode_id_map
from panoptic.format.image_id import ImageId
from panoptic.format.segments import SegmentLabel
from panoptic.io.files import opened_files
from panoptic.tools.check.annotations import JsonImage
from panoptic.tools.check.dataset import DatasetCheck
from panoptic.tools.check.image import UNREADABLE
from panoptic.tools.check.issues import Issue, Severity, by_type
from panoptic.tools.check.split import SplitCheck
from panoptic.visualization import Segmentation, side_by_side

T = TypeVar("T", bound=np.generic)
# Larger files are inspected, but not shown.
_SHOWN_BYTES, _SHOWN_PIXELS = 1 << 27, 1 << 26
# Equal widths give the names in all images the same size on the page.
_WIDTH, _HEIGHT = 360, 640
_QUALITY = 82
_LONGEST_NAME = 30
_ALARMING = (255, 0, 200)


@dataclass(frozen=True)
class ShownImage:
    """An image of the page and its issues; `jpeg` is empty if it cannot be shown."""

    split: str
    image: JsonImage
    issues: tuple[Issue, ...]
    jpeg: bytes


def choose_images(check: DatasetCheck, count: int, seed: int) -> list[tuple[SplitCheck, JsonImage]]:
    """Choose up to `count` images: two thirds with issues, of each type in turn, the others sound ones at random."""
    splits = {split.split: split for split in check.splits}
    images = {(name, image.image_id): image for name, split in splits.items() for image in split.annotations.images}
    groups = [
        [(issue.split, issue.image_id) for issue in issues if issue.image_id is not None]
        for issue_type, issues in by_type(check.issues).items()
        if issue_type.severity is not Severity.NOTE
    ]
    in_turn = chain.from_iterable(zip_longest(*groups))
    issuey = [key for key in dict.fromkeys(key for key in in_turn if key) if key in images]
    marked = set(issuey)
    sound = [key for key in images if key not in marked]
    some = issuey[: max(-(-2 * count // 3), count - len(sound))]
    some += random.Random(seed).sample(sound, min(count - len(some), len(sound)))
    return [(splits[split], images[split, image_id]) for split, image_id in some]


def show_images(check: DatasetCheck, count: int, seed: int) -> list[ShownImage]:
    """Draw the chosen images as JPEGs."""
    issues: dict[tuple[str, ImageId | None], list[Issue]] = defaultdict(list)
    for issue in check.issues:
        issues[issue.split, issue.image_id].append(issue)
    chosen = [(split, image, issues[split.split, image.image_id]) for split, image in choose_images(check, count, seed)]
    return [
        ShownImage(split.split, image, tuple(found), _show(split, image, check.categories))
        for split, image, found in chosen
    ]


def _show(split: SplitCheck, listed: JsonImage, categories: CategoryTable | None) -> bytes:
    image = _read(split.files.images, listed.file_name, decode_image)
    ids = _read(split.files.masks, listed.mask_name, decode_id_map)
    if image is None and ids is not None:
        image = np.full((*ids.shape, 3), 255, np.uint8)
    if image is None:
        return b""
    scale = min(1.0, _HEIGHT / image.shape[0], _WIDTH / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if ids is None or ids.shape != image.shape[:2]:
        # Without segments, an empty panel keeps the scale of all images equal.
        return _jpeg(np.hstack([small, np.full_like(small, 255)]))
    small_ids = np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), np.int32)
    return _jpeg(_overlay(small, small_ids, listed, categories))


def _read(path: Path, name: str | None, decode: Callable[[bytes, str], NDArray[T]]) -> NDArray[T] | None:
    """Read and decode a file; None if it cannot be shown."""
    if name is None:
        return None
    try:
        with opened_files(path).open(name) as file:
            data = file.read(_SHOWN_BYTES + 1)
        header = read_header(BytesIO(data), name)
        is_shown = len(data) <= _SHOWN_BYTES and header.height * header.width <= _SHOWN_PIXELS
        return decode(data, name) if is_shown else None
    except (UnicodeError, *UNREADABLE):
        return None


def _overlay(
    image: NDArray[np.uint8], ids: NDArray[np.int32], listed: JsonImage, categories: CategoryTable | None
) -> NDArray[np.uint8]:
    """Draw image (H,W,3) and segments (H,W) side by side, (H',W',3)."""
    segments: list[SegmentLabel] = [segment for segment in listed.segments or () if VOID < segment.id <= MAX_ID]
    unlisted = ~np.isin(ids, [VOID, *(segment.id for segment in segments)])
    table = _with_unknown(segments, categories)
    if unlisted.any():
        # One label for all of them: a PNG that was resampled smoothly has as many ids as pixels.
        free = next(key for key in range(1, MAX_ID) if all(key != segment.id for segment in segments))
        category = Category(_free_category(table), "not listed", True, _ALARMING)
        table = replace(table, things=(*table.things, category))
        segments = [*segments, SegmentLabel(free, category.id, False)]
        ids = np.where(unlisted, np.int32(free), ids)
    drawn = set(np.unique(ids).tolist())
    segments = [segment for segment in segments if segment.id in drawn]
    return side_by_side(image, Segmentation(ids, segments), None, table)


def _with_unknown(segments: Sequence[SegmentLabel], categories: CategoryTable | None) -> CategoryTable:
    """The categories with names that can be drawn, and one for each unknown category."""
    known = categories or CategoryTable((), ())
    unknown = sorted({segment.category_id for segment in segments if segment.category_id not in known})
    things = [replace(category, name=_short(category.name)) for category in known.things]
    things += [Category(key, f"unknown category {key}", True, _ALARMING) for key in unknown]
    stuff = [replace(category, name=_short(category.name)) for category in known.stuff]
    return CategoryTable(tuple(things), tuple(stuff))


def _short(name: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}..."


def _free_category(table: CategoryTable) -> int:
    return max((category.id for category in table), default=0) + 1


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
