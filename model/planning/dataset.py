"""What is known of a dataset before it is trained on: pictures, their sizes, segments, classes.

Taken from the index if `annotate` has made it; else, for COCO and ADE20K, from what is published; else from the
panoptic JSON of own data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from model.planning.recipe import Recipe
from panoptic.categories import CategoryTable
from panoptic.download.archives import PUBLIC_DATASETS
from panoptic.errors import DatasetError
from panoptic.index import PanopticIndex
from panoptic.json_fields import JsonObject, read_json
from panoptic.layout import DatasetSettings, find_split

Size = tuple[int, int]  # (height, width)

SAMPLED = 1000
"""Pictures that are looked at for sizes and segments."""


@dataclass(frozen=True)
class Pictures:
    """A split: how many pictures, the (height, width) of some, and things and stuff segments of one on average."""

    count: int
    sizes: tuple[Size, ...]
    things: float
    stuff: float
    source: str

    @property
    def pixels(self) -> float:
        """Of a picture, on average."""
        return float(np.mean([height * width for height, width in self.sizes]))


@dataclass(frozen=True)
class PlannedDataset:
    """Both splits, and the numbers of classes."""

    train: Pictures
    val: Pictures
    num_things: int
    num_stuff: int


@dataclass(frozen=True)
class _Typical:
    """Of a public dataset: numbers of classes, its most frequent size, segments of a picture."""

    num_things: int
    num_stuff: int
    size: Size
    things: float
    stuff: float


_TYPICAL: Mapping[str, _Typical] = MappingProxyType(
    {"coco": _Typical(80, 53, (480, 640), 7, 4), "ade20k": _Typical(100, 50, (512, 683), 10, 8)}
)
"""For plans without the data. The segments, which matter little, are rough."""


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
    if dataset.name in _TYPICAL and recipe.download.published:
        typical = _TYPICAL[dataset.name]
        train, val = (_published(dataset.name, split, typical) for split in (dataset.train, dataset.val))
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


def _indexed(index: PanopticIndex, name: str) -> Pictures:
    labels = {category.id: category.is_thing for category in index.categories}
    records = [index.records[int(place)] for place in _some(len(index.records))]
    segments = [labels[segment.category_id] for record in records for segment in record.segments]
    sizes = [(record.height, record.width) for record in records]
    return _pictures(len(index.records), sizes, segments, f"index {name}")


def _published(name: str, split: str, typical: _Typical) -> Pictures:
    counts = PUBLIC_DATASETS[name].pictures
    if split not in counts:
        raise DatasetError(f"dataset '{name}' has no split '{split}'; there are: {', '.join(counts)}")
    height, width = typical.size
    source = f"published; taken to be {width} x {height}"
    return Pictures(counts[split], (typical.size,), typical.things, typical.stuff, source)


def _listed(dataset: DatasetSettings, split: str) -> tuple[CategoryTable, Pictures]:
    path = find_split(Path(dataset.root), split).panoptic_json
    document = read_json(path)
    categories = CategoryTable.from_json(document.values.get("categories"), str(path))
    images, annotations = list(document.objects("images")), list(document.objects("annotations"))
    sizes = [(images[place].integer("height"), images[place].integer("width")) for place in _some(len(images))]
    things = {category.id: category.is_thing for category in categories}
    segments = list(_kinds((annotations[place] for place in _some(len(annotations))), things))
    return categories, _pictures(len(images), sizes, segments, f"listed in {path}")


def _kinds(annotations: Iterable[JsonObject], things: Mapping[int, bool]) -> Iterator[bool]:
    for annotation in annotations:
        for segment in annotation.objects("segments_info"):
            yield things.get(segment.integer("category_id"), False)


def _some(count: int) -> list[int]:
    """At most `SAMPLED` places below `count`, evenly spread."""
    if not count:
        raise DatasetError("a split has no pictures; look at it with: python -m stages.annotate check")
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(count, SAMPLED)).astype(int))]


def _pictures(count: int, sizes: Sequence[Size], is_thing: Sequence[bool], source: str) -> Pictures:
    looked_at = len(sizes)
    things = sum(is_thing)
    return Pictures(count, tuple(sizes), things / looked_at, (len(is_thing) - things) / looked_at, source)
