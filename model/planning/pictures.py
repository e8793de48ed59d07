"""Pictures that stand for a dataset's where time and memory are measured: of its sizes, with as many segments."""

from dataclasses import dataclass

import cv2
import numpy as np

from model.training.packing import PackedBatch, collate
from panoptic.augmentation import AugmentationSettings, augment
from panoptic.categories import Category, CategoryTable
from panoptic.index import ImageRecord
from panoptic.reader import Sample
from panoptic.segments import Segment, measure_segments

DRAWN = 200
"""Forward passes whose sizes are drawn."""


def made_categories(num_things: int, num_stuff: int) -> CategoryTable:
    """So many classes; ids from 1, things first."""
    categories = [
        Category(label + 1, str(label), label < num_things, (0, 0, 0)) for label in range(num_things + num_stuff)
    ]
    return CategoryTable(tuple(categories[:num_things]), tuple(categories[num_things:]))


def made_sample(
    rng: np.random.Generator, size: tuple[int, int], things: int, stuff: int, categories: CategoryTable
) -> Sample:
    """A picture of coarse noise; its stuff are bands, its things rectangles on them that may cover each other."""
    height, width = size
    coarse = rng.integers(0, 256, (max(1, height // 8), max(1, width // 8), 3), np.uint8)
    image = np.asarray(cv2.resize(coarse, (width, height)), np.uint8)
    ids = np.zeros((height, width), np.int32)
    kinds: dict[int, Category] = {}
    chosen = rng.permutation(len(categories.stuff))[:stuff]
    for number, band in enumerate(np.array_split(np.arange(height), max(1, len(chosen)))[: len(chosen)], start=1):
        ids[band], kinds[number] = number, categories.stuff[chosen[number - 1]]
    for number in range(len(chosen) + 1, len(chosen) + 1 + (things if categories.things else 0)):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        ids[top : top + max(1, height // 4), left : left + max(1, width // 4)] = number
        kinds[number] = categories.things[rng.integers(len(categories.things))]
    segments = tuple(
        Segment(number, kinds[number].id, False, extent.area, extent.box_xywh)
        for number, extent in measure_segments(ids).items()
    )
    return Sample(image, ids, ImageRecord(0, "", "", height, width, segments))


@dataclass(frozen=True)
class MadePictures:
    """What the forward passes of a training see.

    `sizes` are (height, width) of pictures as they are read; `things` and `stuff` are segments of each.
    """

    sizes: tuple[tuple[int, int], ...]
    things: int
    stuff: int
    categories: CategoryTable
    augmentation: AugmentationSettings
    images_per_forward: int
    joint_stuff: str  # `NetworkConfig.stuff`

    def shape(self, draw: int) -> tuple[int, int]:
        """Padded (height, width) of a forward pass."""
        samples = self._augmented(draw, 0, 0)
        shapes = [sample.ids.shape for sample in samples]
        return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)

    def batch(self, draw: int) -> PackedBatch:
        """The same forward pass, with segments."""
        samples = self._augmented(draw, self.things, self.stuff)
        return collate(samples, self.categories, self.joint_stuff)

    def typical_and_largest(self) -> tuple[int, int, float]:
        """The draw of median area, that of the largest, and the mean area in pixels."""
        areas = [height * width for height, width in map(self.shape, range(DRAWN))]
        order = np.argsort(areas, kind="stable")
        return int(order[DRAWN // 2]), int(order[-1]), float(np.mean(areas))

    def _augmented(self, draw: int, things: int, stuff: int) -> list[Sample]:
        rng = np.random.default_rng(draw)
        first = self.sizes[rng.integers(len(self.sizes))]
        # As in training, pictures of one orientation share a forward pass.
        alike = [size for size in self.sizes if np.sign(size[1] - size[0]) == np.sign(first[1] - first[0])]
        chosen = [first, *(alike[place] for place in rng.integers(len(alike), size=self.images_per_forward - 1))]
        return [
            augment(
                made_sample(np.random.default_rng([draw, place]), size, things, stuff, self.categories),
                np.random.default_rng([draw, place, 1]),
                self.augmentation,
            )
            for place, size in enumerate(chosen)
        ]
