"""Inspecting one image: the image file, the panoptic PNG, and what the JSON says about both. Runs in worker processes.

Nothing here raises an error; each issue is kept, and everything that does not depend on it is still inspected. Files
are not read beyond the size that their image can need, and images that claim to be enormous are never decoded.
"""

import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.data.decoding import DEPTHS, verify_image
from panoptic.data.image_header import EnormousImageError, ImageHeader, UnsupportedImageError, open_image, read_header
from panoptic.format.id_map import decode_id_map
from panoptic.format.image_id import ImageId
from panoptic.format.segments import AnnotatedSegment, Extent, measure_segments
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import opened_files
from panoptic.io.png import MAX_PIXELS, claimed_header
from panoptic.tools.check.annotations import JsonImage
from panoptic.tools.check.issues import TINY_AREA, Issue, what_was_found

# Bytes that a file may have beyond its pixels, and bytes for each pixel: 16 bits in 4 channels.
_FILE_BYTES, _BYTES_PER_PIXEL = 1 << 26, 8
# Images up to this size are decoded even if the JSON expects another, so that a wrong size hides no other issue.
_HARMLESS_PIXELS = 1 << 24
UNREADABLE = (DatasetError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError)


@dataclass(frozen=True)
class Source:
    """The sources of a split, None if they cannot be read; `stuff` are the ids of its stuff categories."""

    split: str
    images: Path | None
    masks: Path | None
    stuff: frozenset[int]


@dataclass(frozen=True, slots=True)
class DrawnSegment:
    """A listed segment as it is drawn; `area` in pixels. `spans` says whether it reaches from side to side."""

    category_id: int
    is_crowd: bool
    area: int
    spans: bool


@dataclass
class Inspected:
    """The findings about an image. Sizes in pixels, 0 x 0 if unknown; `digest` is that of the image file.

    `void` counts pixels without a segment; it is None if the PNG cannot be read, and then `segments` is empty.
    """

    split: str
    image_id: ImageId
    height: int
    width: int
    void: int | None = None
    segments: tuple[DrawnSegment, ...] = ()
    digest: bytes = b""
    issues: list[Issue] = field(default_factory=list)

    def add(self, issue_type: str, where: str, found: str) -> None:
        self.issues.append(Issue(issue_type, self.split, where, found, self.image_id))


def inspect_images(source: Source, images: Sequence[JsonImage]) -> list[Inspected]:
    """Inspect some images of one split. The names of missing files must be None."""
    return [_inspect(source, image) for image in images]


def _inspect(source: Source, image: JsonImage) -> Inspected:
    size = (image.height, image.width)
    inspected = Inspected(source.split, image.image_id, *size)
    if image.file_name is not None and source.images:
        _inspect_image(source.images, image.file_name, size, inspected)
    if image.mask_name is not None and source.masks:
        ids = _inspect_mask(source.masks, image.mask_name, size, inspected)
        if ids is not None:
            inspected.height, inspected.width = ids.shape
        if ids is not None and image.segments is not None:
            _inspect_segments(ids, image.segments, source, f"{source.masks}: {image.mask_name}", inspected)
    return inspected


def _inspect_image(path: Path, name: str, size: tuple[int, int], inspected: Inspected) -> None:
    where = f"{path}: {name}"
    data = _read(path, name, "image-damaged", inspected)
    if data is None:
        return
    inspected.digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
        header = read_header(BytesIO(data), where)
        stored = header.size(upright=False)
        _compare_size(stored, size, where, inspected, header.orientation)
        _note_traits(header, where, inspected)
        if stored == size or header.height * header.width <= _HARMLESS_PIXELS:
            bits = verify_image(data, where)
            if (stored_bits := max(header.bits, bits)) > DEPTHS[0]:
                inspected.add("image-bit-depth", where, f"{stored_bits}-bit samples, read as {bits}-bit")
    except DatasetError as error:
        types = {UnsupportedImageError: "image-type", EnormousImageError: "bomb"}
        inspected.add(types.get(type(error), "image-damaged"), where, what_was_found(error, where))


def _note_traits(header: ImageHeader, where: str, inspected: Inspected) -> None:
    """Note what a file has, but training does not see."""
    if header.orientation != 1:
        inspected.add("exif-rotation", where, f"orientation {header.orientation}; the stored pixels are used")
    if header.frames > 1:
        inspected.add("image-frames", where, f"{header.frames} images, of which the first is read")
    if header.alpha:
        inspected.add("image-alpha", where, "the colors are read as if every pixel were opaque")


def _inspect_mask(path: Path, name: str, size: tuple[int, int], inspected: Inspected) -> NDArray[np.int32] | None:
    """Return the drawn ids, (H,W), or None if they cannot be read."""
    where = f"{path}: {name}"
    data = _read(path, name, "png-damaged", inspected)
    if data is None:
        return None
    issue_type = "png-damaged"
    if header := claimed_header(data):
        height, width = header.height, header.width
        if height * width > MAX_PIXELS:
            inspected.add("bomb", where, f"the PNG claims {height} x {width} pixels")
            return None
        _compare_size((height, width), size, where, inspected)
        if (height, width) != size and height * width > _HARMLESS_PIXELS:
            return None
        issue_type = issue_type if header.holds_ids else "png-not-rgb"
    try:
        ids = decode_id_map(data, where)
    except DatasetError as error:
        inspected.add(issue_type, where, what_was_found(error, where))
        return None
    if header and header.has_alpha and (transparent := _transparent_pixels(data)):
        inspected.add("png-transparent", where, f"{transparent} pixels; alpha is ignored")
    return ids


def _transparent_pixels(data: bytes) -> int:
    """Count the pixels of a sound PNG with alpha that are not opaque."""
    with open_image(BytesIO(data)) as image:
        return int((np.asarray(image.getchannel("A")) < 255).sum())


def _read(path: Path, name: str, damaged: str, inspected: Inspected) -> bytes | None:
    """Read a file; None if it cannot be read, or is larger than its image can need."""
    limit = _FILE_BYTES + _BYTES_PER_PIXEL * min(inspected.height * inspected.width, MAX_PIXELS)
    try:
        with opened_files(path).open(name) as file:
            data = file.read(limit + 1)
    except UNREADABLE as error:
        inspected.add(damaged, f"{path}: {name}", f"the file cannot be read ({error})")
        return None
    if len(data) > limit:
        inspected.add("bomb", f"{path}: {name}", f"more than {limit} bytes")
        return None
    return data


def _compare_size(
    found: tuple[int, int], listed: tuple[int, int], where: str, inspected: Inspected, orientation: int = 1
) -> None:
    if found == listed or listed == (0, 0):
        return
    rotated = orientation >= 5 and found == listed[::-1]
    why = "; they agree once the EXIF orientation is applied, as annotation tools do" if rotated else ""
    sizes = f"{found[0]} x {found[1]} (height x width), but the JSON says {listed[0]} x {listed[1]}"
    inspected.add("size-differs", where, sizes + why)


def _inspect_segments(
    ids: NDArray[np.int32], segments: Sequence[AnnotatedSegment], source: Source, where: str, inspected: Inspected
) -> None:
    extents = measure_segments(ids)
    _compare({segment.id: segment for segment in segments}, extents, where, inspected)
    drawn = _drawn(segments, extents, ids.shape)
    inspected.segments = drawn
    inspected.void = ids.size - sum(segment.area for segment in drawn)
    counts = Counter(segment.category_id for segment in drawn if not segment.is_crowd)
    divided = [f"category {key} ({n} segments)" for key, n in counts.items() if n > 1 and key in source.stuff]
    tiny = sum(segment.area < TINY_AREA and not segment.is_crowd for segment in drawn)
    if divided:
        inspected.add("stuff-divided", where, shown_ids(divided, 5))
    if tiny:
        inspected.add("tiny-segment", where, f"{tiny} of {len(drawn)} segments")
    if not extents:
        inspected.add("void-image", where, "every pixel is void")


def _compare(
    listed: Mapping[int, AnnotatedSegment], extents: Mapping[int, Extent], where: str, inspected: Inspected
) -> None:
    """Compare listed with drawn segments. Several segments with the same issue are one finding."""
    areas, boxes = [], []
    for key, segment in listed.items():
        extent = extents.get(key)
        if extent and segment.area is not None and segment.area != extent.area:
            areas.append(f"segment {key}: {segment.area} listed but {extent.area} drawn")
        if extent and segment.box_xywh is not None and segment.box_xywh != extent.box_xywh:
            boxes.append(f"segment {key}: {list(segment.box_xywh)} listed but {list(extent.box_xywh)} drawn")
    for issue_type, items in (
        ("drawn-unlisted", [f"id {key} ({extents[key].area} pixels)" for key in sorted(extents.keys() - listed)]),
        ("listed-undrawn", [f"id {key}" for key in sorted(listed.keys() - extents.keys())]),
        ("area-differs", areas),
        ("box-differs", boxes),
    ):
        if items:
            inspected.add(issue_type, where, shown_ids(items, 5))


def _drawn(
    segments: Sequence[AnnotatedSegment], extents: Mapping[int, Extent], shape: tuple[int, ...]
) -> tuple[DrawnSegment, ...]:
    height, width = shape
    drawn = []
    for segment in segments:
        if extent := extents.get(segment.id):
            spans = extent.box_xywh[2] == width or extent.box_xywh[3] == height
            drawn.append(DrawnSegment(segment.category_id, segment.is_crowd, extent.area, spans))
    return tuple(drawn)
