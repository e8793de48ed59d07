"""What is known of a dataset before it is trained on: images, their sizes, segments, classes.

Taken from the index if `annotate` has made it; else, for COCO and ADE20K, from what is published; else from the
panoptic JSON of own data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from model.inference.predict import InferenceSettings
from model.network.config import NetworkConfig
from model.training.batch import PackedBatch, collate
from model.training.sampling import Split
from model.training.settings import TrainSettings
from panoptic.data.reader import Sample
from panoptic.data.transforms import AugmentationSettings, augment
from panoptic.datasets.description import TypicalImage
from panoptic.datasets.download.obtaining import DownloadSettings
from panoptic.datasets.known import describe_dataset
from panoptic.datasets.layout import DatasetSettings, find_split
from panoptic.datasets.shards import AnnotateSettings
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.robustness.corrupted_split import CorruptSettings


@dataclass(frozen=True)
class Recipe:
    """The sections of params.yaml that decide what a run takes."""

    dataset: DatasetSettings
    download: DownloadSettings
    annotate: AnnotateSettings
    model: NetworkConfig
    train: TrainSettings
    predict: InferenceSettings
    corrupt: CorruptSettings
    processes: int = 1

    def __post_init__(self) -> None:
        """Refuse what the training would refuse: a batch that the processes cannot share."""
        if self.processes < 1:
            raise ValueError(f"{self.processes} processes; give at least 1")
        assert self.forwards

    @property
    def forwards(self) -> int:
        """Forward passes of each process in a step."""
        train = self.train
        return Split(train.batch_size, train.images_per_forward, 0, self.processes).forwards


Size = tuple[int, int]  # (height, width)

SAMPLED = 1000
"""Images that are looked at for sizes and segments."""


@dataclass(frozen=True)
class Images:
    """A split: how many images, the (height, width) of some, and things and stuff segments of one on average."""

    count: int
    sizes: tuple[Size, ...]
    things: float
    stuff: float
    source: str

    @property
    def pixels(self) -> float:
        """Of an image, on average."""
        return float(np.mean([height * width for height, width in self.sizes]))


@dataclass(frozen=True)
class PlannedDataset:
    """Both splits, and the numbers of classes."""

    train: Images
    val: Images
    num_things: int
    num_stuff: int


def find_dataset(recipe: Recipe, annotated: Path) -> PlannedDataset:
    """What is known; `annotated` is the folder that `annotate` writes. Raises `DatasetError` if nothing is."""
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
        return PlannedDataset(train, val, typical.num_things, typical.num_stuff)
    categories, train = _listed(dataset, dataset.train)
    _, val = _listed(dataset, dataset.val)
    return PlannedDataset(train, val, len(categories.things), len(categories.stuff))


def _index(dataset: DatasetSettings, split: str, path: Path) -> PanopticIndex | None:
    """The index at `path`, if it is there and is one of this split of this dataset."""
    if not path.is_file():
        return None
    index = PanopticIndex.load(path)
    if not len(index.records) or not index.images.is_relative_to(dataset.root):
        return None
    # In the name of a folder or archive of its own, or of a folder inside a common archive.
    places = {index.images.name, index.images.stem, *Path(index.records[0].file_name).parts}
    return index if split in places else None


def _indexed(index: PanopticIndex, name: str) -> Images:
    labels = {category.id: category.is_thing for category in index.categories}
    records = [index.records[int(place)] for place in _some(len(index.records))]
    segments = [labels[segment.category_id] for record in records for segment in record.segments]
    sizes = [(record.height, record.width) for record in records]
    return _images(len(index.records), sizes, segments, f"index {name}")


def _published(count: int, typical: TypicalImage) -> Images:
    source = f"published; taken to be {typical.width} x {typical.height}"
    return Images(count, ((typical.height, typical.width),), typical.things, typical.stuff, source)


def _listed(dataset: DatasetSettings, split: str) -> tuple[CategoryTable, Images]:
    path = find_split(Path(dataset.root), split).panoptic_json
    document = read_json(path)
    categories = CategoryTable.from_json(document.values.get("categories"), str(path))
    images, annotations = list(document.objects("images")), list(document.objects("annotations"))
    sizes = [(images[place].integer("height"), images[place].integer("width")) for place in _some(len(images))]
    things = {category.id: category.is_thing for category in categories}
    segments = list(_kinds((annotations[place] for place in _some(len(annotations))), things))
    return categories, _images(len(images), sizes, segments, f"listed in {path}")


def _kinds(annotations: Iterable[JsonObject], things: Mapping[int, bool]) -> Iterator[bool]:
    for annotation in annotations:
        for segment in annotation.objects("segments_info"):
            yield things.get(segment.integer("category_id"), False)


def _some(count: int) -> list[int]:
    """At most `SAMPLED` places below `count`, evenly spread."""
    if not count:
        raise DatasetError("a split has no images; look at it with: python -m panoptic.tools.check")
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).astype(int))]


def _images(count: int, sizes: Sequence[Size], is_thing: Sequence[bool], source: str) -> Images:
    looked_at = len(sizes)
    things = sum(is_thing)
    return Images(count, tuple(sizes), things / looked_at, (len(is_thing) - things) / looked_at, source)


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
    """An image of coarse noise; its stuff are bands, its things rectangles on them that may cover each other."""
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
class MadeImages:
    """What the forward passes of a training see.

    `sizes` are (height, width) of images as they are read; `things` and `stuff` are segments of each.
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
        # As in training, images of one orientation share a forward pass.
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
