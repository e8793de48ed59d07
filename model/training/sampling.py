"""Choose the images of every optimizer step, and load them.

Everything is a function of the seed and the step, never of what ran before, so that a resumed run and a run with
more processes see the same images, augmented the same way.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset, get_worker_info

from model.device import pick_device
from model.training.batch import PackedBatch, collate
from panoptic.data.copy_paste import paste_things
from panoptic.data.reader import PanopticReader, Sample
from panoptic.data.transforms import AugmentationSettings, augment
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.records import image_sizes
from panoptic.runtime.cli import be_killed_with_parent


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of optimizer steps in which every image appears at least once."""
    return -(-images // batch_size)


def epoch_plan(records: Sequence[ImageRecord], batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Assign images to the steps of an epoch: record indices (steps, batch_size).

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
class MicroBatch:
    """The images of one forward pass: its optimizer step, and (index in the step, record index) of each image."""

    step: int
    images: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Accumulation:
    """Division of the images of one step over processes, then over micro-batches whose gradients add up."""

    batch_size: int
    images_per_forward: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        """Reject a batch that does not divide evenly."""
        if self.batch_size % (self.world_size * self.images_per_forward):
            raise ValueError(
                f"train.batch_size is {self.batch_size}, which {self.world_size} processes with "
                f"{self.images_per_forward} images per forward pass cannot divide evenly; change "
                "train.batch_size, train.images_per_forward or the number of processes"
            )

    @property
    def micro_batches(self) -> int:
        """Number of forward passes of this process per step."""
        return self.batch_size // (self.world_size * self.images_per_forward)

    def shard(self, step: int, records: Sequence[int]) -> Iterator[MicroBatch]:
        """This process's micro-batches of a step with these record indices."""
        size = self.batch_size // self.world_size
        images = [(index, int(records[index])) for index in range(self.rank * size, (self.rank + 1) * size)]
        for start in range(0, size, self.images_per_forward):
            yield MicroBatch(step, tuple(images[start : start + self.images_per_forward]))


def batch_plan(
    records: Sequence[ImageRecord], accumulation: Accumulation, seed: int, first_step: int, last_step: int
) -> Iterator[MicroBatch]:
    """This process's micro-batches for the optimizer steps from `first_step` to before `last_step`."""
    per_epoch = steps_per_epoch(len(records), accumulation.batch_size)
    plan, planned = np.empty((0, 0), np.int64), -1
    for step in range(first_step, last_step):
        epoch, row = divmod(step, per_epoch)
        if epoch != planned:
            plan, planned = epoch_plan(records, accumulation.batch_size, seed, epoch), epoch
        yield from accumulation.shard(step, plan[row])


class TrainingImages(Dataset[PackedBatch]):
    """Loads micro-batches; the augmentation of each image is seeded by (seed, step, index in the step)."""

    def __init__(
        self, index: PanopticIndex, augmentation: AugmentationSettings, seed: int, stuff: str = "decoupled"
    ) -> None:
        """Load images of `index`; `stuff` is `NetworkConfig.stuff_queries`."""
        self.index = index
        self.reader = PanopticReader(index)
        self.augmentation = augmentation
        self.things = {category.id for category in index.categories.things}
        self.seed = seed
        self.stuff = stuff

    def __getitem__(self, micro_batch: MicroBatch) -> PackedBatch:
        """Read and augment the images of a micro-batch."""
        samples = []
        for index, record_index in micro_batch.images:
            rng = np.random.default_rng([self.seed, micro_batch.step, index])
            samples.append(self._sample(record_index, rng))
        batch = collate(samples, self.index.categories, self.stuff)
        if get_worker_info():
            # As sending it to the training process would do; but there an error would be lost, and the batch with it.
            share: Callable[[], object] = batch.data.share_memory_
            share()
        return batch

    def _sample(self, record_index: int, rng: np.random.Generator) -> Sample:
        sample = augment(self.reader.sample(self.index.records[record_index]), rng, self.augmentation)
        probability = self.augmentation.copy_paste_probability
        if not probability or rng.random() >= probability:
            return sample
        other = self.reader.sample(self.index.records[int(rng.integers(len(self.index.records)))])
        return paste_things(sample, augment(other, rng, self.augmentation), rng, self.things)


def training_loader(images: TrainingImages, plan: Iterable[MicroBatch], workers: int) -> DataLoader[PackedBatch]:
    """Load the batches of `plan` in its order, ahead of the network in `workers` processes; with 0, on request."""
    return DataLoader(
        images,
        batch_size=None,
        sampler=plan,
        num_workers=workers,
        worker_init_fn=_work_alone,
        pin_memory=pick_device().type == "cuda",
    )


def _work_alone(_: int) -> None:
    """Let a loader process end with the training, and keep OpenCV single-threaded there, as torch is.

    The processes already occupy the cores. 0 means "do not parallelize". 1 would shut down OpenCV's threads, and hang:
    the process was forked from one that may have had such threads, and they do not exist in the fork.
    """
    cv2.setNumThreads(0)
    be_killed_with_parent()
