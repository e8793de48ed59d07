"""Tiny panoptic datasets on disk, for tests of everything that reads files."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.data.reader import Sample
from panoptic.format.id_map import encode_id_map
from panoptic.format.segments import Segment, SegmentLabel, measure_segments
from panoptic.index import ImageRecord

CATEGORIES: list[dict[str, object]] = [
    {"id": 20, "name": "water", "isthing": 0, "color": [0, 0, 200]},
    {"id": 7, "name": "star", "isthing": 1, "color": [200, 0, 0]},
    {"id": 3, "name": "ball", "isthing": 1, "color": [0, 200, 0]},
    {"id": 11, "name": "sky", "isthing": 0, "color": [100, 200, 250]},
]
THINGS = (3, 7)
STUFF = (11, 20)


@dataclass(frozen=True)
class TinyImage:
    """An (H,W,3) RGB image, its (H,W) id map and its segments."""

    image_id: int
    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    segments: tuple[SegmentLabel, ...]


@dataclass(frozen=True)
class TinySplit:
    """The paths of the parts that `write_split` wrote."""

    panoptic_json: Path
    masks: Path
    images: Path


def random_image(
    rng: np.random.Generator, image_id: int, height: int = 24, width: int = 32, spots: float = 0.1, side: int = 4
) -> TinyImage:
    """Blocks of random ids and categories with some void and crowd; each stuff class appears once at most.

    `spots` is the share of pixels that have another id, `side` that of the blocks in pixels.
    """
    blocks = rng.integers(0, 9, size=(-(-height // side), -(-width // side)))
    ids = np.kron(blocks, np.ones((side, side), np.int64))[:height, :width]
    spotted = rng.random((height, width)) < spots
    ids[spotted] = rng.integers(0, 9, size=int(spotted.sum()))
    names = np.concatenate([[0], rng.choice(1 << 24, size=8, replace=False) | 1]).astype(np.int32)
    named = names[ids]
    segments = []
    for position, name in enumerate(names[1:].tolist()):
        category = STUFF[position] if position < len(STUFF) else int(rng.choice(THINGS))
        crowd = position >= len(STUFF) and bool(rng.random() < 0.25)
        if np.any(named == name):
            segments.append(SegmentLabel(name, category, crowd))
    image = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    return TinyImage(image_id, image, named, tuple(segments))


def random_images(seed: int, count: int) -> list[TinyImage]:
    rng = np.random.default_rng(seed)
    return [random_image(rng, 100 + number, 20 + number % 3, 28 + number % 5) for number in range(count)]


def write_split(root: Path, split: str, drawn: Iterable[TinyImage]) -> TinySplit:
    """Write a split in COCO panoptic layout below `root`."""
    where = TinySplit(
        root / "annotations" / f"panoptic_{split}.json", root / "annotations" / f"panoptic_{split}", root / split
    )
    where.masks.mkdir(parents=True)
    where.images.mkdir(parents=True)
    images, annotations = [], []
    for image in drawn:
        name = f"{image.image_id:06d}"
        cv2.imwrite(str(where.images / f"{name}.png"), image.image[..., ::-1])
        (where.masks / f"{name}.png").write_bytes(encode_id_map(image.ids))
        height, width = image.ids.shape
        images.append({"id": image.image_id, "file_name": f"{name}.png", "height": height, "width": width})
        annotations.append(
            {
                "image_id": image.image_id,
                "file_name": f"{name}.png",
                "segments_info": [
                    {"id": segment.id, "category_id": segment.category_id, "iscrowd": int(segment.is_crowd)}
                    for segment in image.segments
                ],
            }
        )
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    where.panoptic_json.write_text(json.dumps(document))
    return where


def make_sample(seed: int, height: int = 24, width: int = 32) -> Sample:
    """A random sample whose image shows the id map: a pixel's color is a function of its id."""
    image = random_image(np.random.default_rng(seed), 1, height, width)
    extents = measure_segments(image.ids)
    segments = tuple(
        Segment(label.id, label.category_id, label.is_crowd, extents[label.id].area, extents[label.id].box_xywh)
        for label in image.segments
    )
    record = ImageRecord(1, "1.png", "1.png", height, width, segments)
    return Sample(id_colors(image.ids), image.ids, record)


def id_colors(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.stack([ids % 251, ids // 7 % 253, ids // 1009 % 241], axis=-1).astype(np.uint8)


def assert_consistent(sample: Sample) -> None:
    """Assert that sizes agree, and that segments are exactly those drawn, with their areas and boxes."""
    assert sample.image.shape == (*sample.ids.shape, 3)
    assert sample.ids.shape == (sample.record.height, sample.record.width)
    assert sample.image.dtype == np.uint8
    assert sample.ids.dtype == np.int32
    assert sample.image.flags.c_contiguous
    assert sample.ids.flags.c_contiguous
    extents = measure_segments(sample.ids)
    assert {segment.id for segment in sample.record.segments} == extents.keys()
    for segment in sample.record.segments:
        assert (segment.area, segment.box_xywh) == (extents[segment.id].area, extents[segment.id].box_xywh)


def assert_equal(first: Sample, second: Sample) -> None:
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.ids, second.ids)
    assert first.record == second.record
