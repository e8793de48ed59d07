"""Seeded id maps of COCO's usual size with about 15 segments, imperfect results for them, and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.categories import Category, CategoryTable
from panoptic.id_map import MAX_ID, VOID, ids_to_rgb
from panoptic.segments import SegmentLabel

HEIGHT, WIDTH = 480, 640
_CLASSES = 10  # of things, and as many of stuff
_GROUNDS, _THINGS = 6, 10  # in a picture, before they hide each other
_CROWDED = 0.3  # of the pictures
_LOST, _CONFUSED = 0.12, 0.1  # of the segments of a result


@dataclass(frozen=True)
class LabelledMap:
    """An (H,W) id map and what its ids are; void has none."""

    ids: NDArray[np.int32]
    segments: tuple[SegmentLabel, ...]


def drawn_categories() -> CategoryTable:
    """The classes of drawn maps."""
    classes = [Category(n, f"class {n}", n <= _CLASSES, (n, 0, 0)) for n in range(1, 2 * _CLASSES + 1)]
    return CategoryTable(tuple(classes[:_CLASSES]), tuple(classes[_CLASSES:]))


def draw_map(rng: np.random.Generator) -> LabelledMap:
    """Grounds, each where its point is nearest, things before them, and some void, all with wiggly outlines."""
    shape = (HEIGHT, WIDTH)
    y, x = (along + _wiggles(rng, shape, 15, 60) + _wiggles(rng, shape, 2, 8) for along in np.indices(shape))
    points = rng.uniform((0, 0), shape, (_GROUNDS, 2))
    labels = np.argmin([(y - top) ** 2 + (x - left) ** 2 for top, left in points], axis=0) + 1
    for label in (*range(_GROUNDS + 1, _GROUNDS + _THINGS + 1), VOID, VOID):
        top, left = rng.uniform((0, 0), shape)
        height, width = rng.uniform(12, 90, 2)
        labels[((y - top) / height) ** 2 + ((x - left) / width) ** 2 < 1] = label
    ids = np.append(VOID, 1 + rng.choice(MAX_ID, _GROUNDS + _THINGS, replace=False)).astype(np.int32)
    stuff = 1 + _CLASSES + rng.choice(_CLASSES, _GROUNDS, replace=False)
    category_ids = [VOID, *stuff.tolist(), *rng.integers(1, _CLASSES + 1, _THINGS).tolist()]
    crowd = _GROUNDS + 1 if rng.random() < _CROWDED else VOID
    seen = [label for label in np.unique(labels).tolist() if label != VOID]
    return LabelledMap(
        ids[labels], tuple(SegmentLabel(int(ids[label]), category_ids[label], label == crowd) for label in seen)
    )


def spoil_map(truth: LabelledMap, table: CategoryTable, rng: np.random.Generator) -> LabelledMap:
    """A result: outlines bent, some segments left void, some taken for another class; without crowds."""
    places = (along + _wiggles(rng, truth.ids.shape, 2.5, 25) for along in np.indices(truth.ids.shape))
    rows, columns = (
        np.clip(np.rint(place), 0, size - 1).astype(np.intp)
        for place, size in zip(places, truth.ids.shape, strict=True)
    )
    bent = truth.ids[rows, columns]
    ids = np.zeros_like(bent)
    names = 1 + rng.choice(MAX_ID, len(truth.segments), replace=False)
    segments = []
    for name, segment in zip(names.tolist(), truth.segments, strict=True):
        inside = bent == segment.id
        if segment.is_crowd or not inside.any() or rng.random() < _LOST:
            continue
        ids[inside] = name
        confused = rng.random() < _CONFUSED
        segments.append(SegmentLabel(name, _peer(segment, table, rng) if confused else segment.category_id, False))
    return LabelledMap(ids, tuple(segments))


def paint(ids: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H,W,3) a picture: each segment in a colour, with shades and grain."""
    shades = _wiggles(rng, ids.shape, 30, 40) + rng.normal(0, 6, ids.shape)
    return np.clip(ids_to_rgb(ids) + shades[..., None], 0, 255).astype(np.uint8)


def _peer(segment: SegmentLabel, table: CategoryTable, rng: np.random.Generator) -> int:
    """A class of the same kind."""
    peers: Sequence[Category] = table.things if table.by_id(segment.category_id).is_thing else table.stuff
    return peers[int(rng.integers(len(peers)))].id


def _wiggles(rng: np.random.Generator, shape: tuple[int, ...], strength: float, grain: int) -> NDArray[np.float32]:
    """(H,W) a smooth random field of about that standard deviation, with a number drawn every `grain` pixels."""
    height, width = shape
    coarse = rng.standard_normal((height // grain + 3, width // grain + 3), np.float32) * strength
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
