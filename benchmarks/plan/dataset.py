"""Statistics of a dataset before it is trained on: images, their sizes, segments, classes.

They come from the index if `annotate` has made it; else, for COCO, ADE20K and Cityscapes, from published numbers;
else from the panoptic JSON of your own data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.synthetic import made_sample
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.training.batch import PackedBatch, collate
from model.training.sampling import Accumulation
from model.training.settings import TrainSettings
from panoptic.data.reader import Sample
from panoptic.data.transforms import AugmentationSettings, augment
from panoptic.datasets.description import TypicalImage
from panoptic.datasets.download.obtaining import DownloadSettings
from panoptic.datasets.known import describe_dataset
from panoptic.datasets.layout import DatasetSettings, find_split
from panoptic.datasets.shards import SUPERCATEGORY, AnnotateSettings
from panoptic.datasets.supercategories import supercategory_classes
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.robustness.corrupted_split import CorruptSettings

SAMPLED = 1000
"""Images whose sizes and segments are inspected."""
DRAWN = 200
"""Forward passes to draw sizes for."""

Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class Recipe:
    """The sections of params.yaml that determine the cost of a run."""

    dataset: DatasetSettings
    download: DownloadSettings
    annotate: AnnotateSettings
    model: NetworkConfig
    train: TrainSettings
    predict: InferenceSettings
    corrupt: CorruptSettings
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse a batch that the processes cannot share, as the training does."""
        if self.processes < 1:
            raise ValueError(f"{self.processes} processes; give at least 1")
        assert self.micro_batches

    @property
    def micro_batches(self) -> int:
        """Micro-batches of each process per step."""
        train = self.train
        return Accumulation(train.batch_size, train.images_per_forward, 0, self.processes).micro_batches


@dataclass(frozen=True)
class SplitStatistics:
    """Images of a split, the (height, width) of some, and mean thing and stuff segments per image."""

    count: int
    sizes: tuple[Size, ...]
    things: float
    stuff: float
    source: str

    @property
    def pixels(self) -> float:
        """Mean number of pixels per image."""
        return float(np.mean([height * width for height, width in self.sizes]))


@dataclass(frozen=True)
class PlannedDataset:
    """Both splits and the numbers of classes, with a note on what is not known about these."""

    train: SplitStatistics
    val: SplitStatistics
    num_things: int
    num_stuff: int
    note: str = ""


def find_dataset(recipe: Recipe, annotated: Path) -> PlannedDataset:
    """Find the statistics; `annotated` is the folder that `annotate` writes.

    Raises:
        DatasetError: nothing is known of the dataset.
    """
    dataset = recipe.dataset
    indices = (
        _index(dataset, dataset.train, annotated / "train.index"),
        _index(dataset, dataset.val, annotated / "val.index"),
    )
    if indices[0] and indices[1]:
        categories = indices[0].categories
        train, val = (_indexed(index, name) for index, name in zip(indices, ("train", "val"), strict=True) if index)
        return PlannedDataset(train, val, len(categories.things), len(categories.stuff))
    description = describe_dataset(dataset.name)
    typical = description.typical
    if typical and recipe.download.published:
        description.needed([dataset.train, dataset.val])  # refuses an unknown split
        train, val = (_published(description.images[split], typical) for split in (dataset.train, dataset.val))
        note = "; super-categories are fewer" * (recipe.annotate.categories == SUPERCATEGORY)
        return PlannedDataset(train, val, typical.num_things, typical.num_stuff, note)
    categories, train = _listed(dataset, dataset.train)
    _, val = _listed(dataset, dataset.val)
    if recipe.annotate.categories == SUPERCATEGORY:
        categories = CategoryTable.of(frozenset(supercategory_classes(categories, dataset.root).values()))
    return PlannedDataset(train, val, len(categories.things), len(categories.stuff))


def _index(dataset: DatasetSettings, split: str, path: Path) -> PanopticIndex | None:
    """Return the index at `path` if it exists and belongs to this split of this dataset."""
    if not path.is_file():
        return None
    index = PanopticIndex.load(path)
    if not len(index.records) or not index.images.is_relative_to(dataset.root):
        return None
    # The split is a folder or archive of its own, or a folder inside a common archive.
    names = {index.images.name, index.images.stem, *Path(index.records[0].file_name).parts}
    return index if split in names else None


def _indexed(index: PanopticIndex, name: str) -> SplitStatistics:
    labels = {category.id: category.is_thing for category in index.categories}
    records = [index.records[position] for position in _some(len(index.records))]
    segments = [labels[segment.category_id] for record in records for segment in record.segments]
    sizes = [(record.height, record.width) for record in records]
    return _images(len(index.records), sizes, segments, f"index {name}")


def _published(count: int, typical: TypicalImage) -> SplitStatistics:
    source = f"published; assumed to be {typical.width} x {typical.height}"
    return SplitStatistics(count, ((typical.height, typical.width),), typical.things, typical.stuff, source)


def _listed(dataset: DatasetSettings, split: str) -> tuple[CategoryTable, SplitStatistics]:
    path = find_split(Path(dataset.root), split).panoptic_json
    document = read_json(path)
    categories = CategoryTable.from_json(document.values.get("categories"), str(path))
    images, annotations = list(document.objects("images")), list(document.objects("annotations"))
    sizes = [(images[at].integer("height"), images[at].integer("width")) for at in _some(len(images))]
    things = {category.id: category.is_thing for category in categories}
    segments = list(_are_things((annotations[at] for at in _some(len(annotations))), things))
    return categories, _images(len(images), sizes, segments, f"listed in {path}")


def _are_things(annotations: Iterable[JsonObject], things: Mapping[int, bool]) -> Iterator[bool]:
    for annotation in annotations:
        for segment in annotation.objects("segments_info"):
            yield things.get(segment.integer("category_id"), False)


def _some(count: int) -> list[int]:
    """Return at most `SAMPLED` evenly spaced positions below `count`."""
    if not count:
        raise DatasetError("a split has no images; inspect it with: python -m panoptic.tools.check")
    return [int(position) for position in np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).astype(int))]


def _images(count: int, sizes: Sequence[Size], is_thing: Sequence[bool], source: str) -> SplitStatistics:
    things, inspected = sum(is_thing), len(sizes)
    return SplitStatistics(count, tuple(sizes), things / inspected, (len(is_thing) - things) / inspected, source)


@dataclass(frozen=True)
class MadeImages:
    """Inputs of the forward passes of a training.

    `sizes` are (height, width) of the images as read; `things` and `stuff` are numbers of segments per image.
    """

    sizes: tuple[Size, ...]
    things: int
    stuff: int
    categories: CategoryTable
    augmentation: AugmentationSettings
    images_per_forward: int
    stuff_queries: str  # `NetworkConfig.stuff_queries`

    def shape(self, draw: int) -> Size:
        """Return the padded (height, width) of a forward pass."""
        samples = self._augmented(draw, 0, 0)
        shapes = [sample.ids.shape for sample in samples]
        return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)

    def batch(self, draw: int) -> PackedBatch:
        """Make the same forward pass with segments."""
        samples = self._augmented(draw, self.things, self.stuff)
        return collate(samples, self.categories, self.stuff_queries)

    def typical_and_largest(self) -> tuple[int, int, float]:
        """Return the draws of median and largest area, and the mean area in pixels."""
        areas = [height * width for height, width in map(self.shape, range(DRAWN))]
        order = np.argsort(areas, kind="stable")
        return int(order[DRAWN // 2]), int(order[-1]), float(np.mean(areas))

    def _augmented(self, draw: int, things: int, stuff: int) -> list[Sample]:
        rng = np.random.default_rng(draw)
        first = self.sizes[rng.integers(len(self.sizes))]
        # As in training, images of one orientation share a forward pass.
        alike = [size for size in self.sizes if np.sign(size[1] - size[0]) == np.sign(first[1] - first[0])]
        chosen = [first, *(alike[index] for index in rng.integers(len(alike), size=self.images_per_forward - 1))]
        return [
            augment(
                made_sample(np.random.default_rng([draw, index]), size, things, stuff, self.categories),
                np.random.default_rng([draw, index, 1]),
                self.augmentation,
            )
            for index, size in enumerate(chosen)
        ]
