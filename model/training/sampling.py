"""Which images make up which optimizer step.

Everything is a function of the seed and the step, never of what ran before, so that a resumed run and a run with
more processes see the same images, augmented the same way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset

from model.device import pick_device
from model.training.batch import PackedBatch, collate
from panoptic.data.reader import PanopticReader
from panoptic.data.transforms import AugmentationSettings, augment
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.records import image_sizes


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps that show every image at least once."""
    return -(-images // batch_size)


def epoch_plan(records: Sequence[ImageRecord], batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Record indices of every step of an epoch, (steps, batch_size).

    Images of one orientation share a step where possible, so that little padding is needed; the last step is
    filled up with images from the start of the order.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(records))
    heights, widths = image_sizes(records).T
    orientation = np.sign(widths - heights)
    order = order[np.argsort(orientation[order], kind="stable")]
    order = np.resize(order, (steps_per_epoch(len(records), batch_size), batch_size))
    return order[rng.permutation(len(order))]


@dataclass(frozen=True)
class Draw:
    """One forward pass: optimizer step, and the (place in the step, record index) of each of its images."""

    step: int
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Split:
    """How the images of one step are divided: over processes, then over forward passes."""

    batch_size: int
    images_per_forward: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        """Refuse a batch that does not divide evenly."""
        if self.batch_size % (self.world_size * self.images_per_forward):
            raise ValueError(
                f"train.batch_size is {self.batch_size}, which {self.world_size} processes with "
                f"{self.images_per_forward} images per forward pass cannot share evenly; change "
                "train.batch_size, train.images_per_forward or the number of processes"
            )

    @property
    def forwards(self) -> int:
        """Forward passes of this process per step."""
        return self.batch_size // (self.world_size * self.images_per_forward)

    def own(self, images: Sequence[int]) -> Iterator[tuple[tuple[int, int], ...]]:
        """(place, record index) of every forward pass of this process."""
        places = list(enumerate(int(image) for image in images))
        share = self.batch_size // self.world_size
        mine = places[self.rank * share : (self.rank + 1) * share]
        for start in range(0, share, self.images_per_forward):
            yield tuple(mine[start : start + self.images_per_forward])


def draws(records: Sequence[ImageRecord], split: Split, seed: int, first_step: int, last_step: int) -> Iterator[Draw]:
    """The forward passes of this process for the optimizer steps `first_step` up to, not including, `last_step`."""
    per_epoch = steps_per_epoch(len(records), split.batch_size)
    plan, planned = np.empty((0, 0), np.int64), -1
    for step in range(first_step, last_step):
        epoch, row = divmod(step, per_epoch)
        if epoch != planned:
            plan, planned = epoch_plan(records, split.batch_size, seed, epoch), epoch
        for places in split.own(plan[row]):
            yield Draw(step, places)


class TrainingImages(Dataset[PackedBatch]):
    """Turns a `Draw` into a batch; every image's augmentation is seeded by (seed, step, place)."""

    def __init__(
        self, index: PanopticIndex, augmentation: AugmentationSettings, seed: int, stuff: str = "decoupled"
    ) -> None:
        """Read the images of `index`, for a network that treats stuff as `NetworkConfig.stuff` says."""
        self.index = index
        self.reader = PanopticReader(index)
        self.augmentation = augmentation
        self.seed = seed
        self.stuff = stuff

    def __getitem__(self, draw: Draw) -> PackedBatch:
        """The augmented images of `draw`."""
        samples = []
        for place, record_index in draw.places:
            rng = np.random.default_rng([self.seed, draw.step, place])
            samples.append(augment(self.reader.sample(self.index.records[record_index]), rng, self.augmentation))
        return collate(samples, self.index.categories, self.stuff)


def training_loader(images: TrainingImages, plan: Iterable[Draw], workers: int) -> DataLoader[PackedBatch]:
    """The batches of `plan` in its order, made by so many processes ahead of the network; with 0, when asked for."""
    return DataLoader(
        images,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        worker_init_fn=_work_alone,
        pin_memory=pick_device().type == "cuda",
    )


def _work_alone(_: int) -> None:
    """Of a worker process, one of as many as there are cores: as torch there, OpenCV has no threads of its own.

    0 is "not in parallel", 1 would end the threads that there are: those of the process that this one was forked from,
    which have not come along, so that it would wait for them for ever.
    """
    cv2.setNumThreads(0)
