"""Synthetic categories and training samples, for measurements that need no dataset."""

import cv2
import numpy as np

from panoptic.data.reader import Sample
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord


def made_categories(num_things: int, num_stuff: int) -> CategoryTable:
    """Make a table of that many classes; ids start at 1, things come first."""
    categories = [
        Category(label + 1, str(label), label < num_things, (0, 0, 0)) for label in range(num_things + num_stuff)
    ]
    return CategoryTable(tuple(categories[:num_things]), tuple(categories[num_things:]))


def made_sample(
    rng: np.random.Generator, size: tuple[int, int], things: int, stuff: int, categories: CategoryTable
) -> Sample:
    """Make an image of coarse noise with bands of stuff and rectangles of things that may cover each other."""
    height, width = size
    coarse = rng.integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), np.uint8)
    image = np.asarray(cv2.resize(coarse, (width, height)), np.uint8)
    ids = np.zeros((height, width), np.int32)
    of_segment: dict[int, Category] = {}
    chosen = rng.permutation(len(categories.stuff))[:stuff]
    bands = np.array_split(np.arange(height), max(1, len(chosen)))
    for number, (band, label) in enumerate(zip(bands, chosen, strict=False), start=1):
        ids[band], of_segment[number] = number, categories.stuff[label]
    for number in range(len(chosen) + 1, len(chosen) + 1 + (things if categories.things else 0)):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        ids[top : top + max(1, height // 4), left : left + max(1, width // 4)] = number
        of_segment[number] = categories.things[rng.integers(len(categories.things))]
    segments = tuple(
        Segment(number, of_segment[number].id, False, extent.area, extent.box_xywh)
        for number, extent in measure_segments(ids).items()
    )
    return Sample(image, ids, ImageRecord(0, "", "", height, width, segments))
