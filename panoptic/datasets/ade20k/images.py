"""Panoptic images of ADE20K, made from its archives, which are read in place: 100 things and 50 classes of stuff.

`find_source` lists a split, and `Ade20kInspector` verifies one image and draws its panoptic map by the rule of
`panoptic.datasets.ade20k.maps`, which also says what differs from the published conversion.

ADE20K comes in several layouts. This is the one of ADEChallengeData2016.zip with annotations_instance.tar, on which
panoptic segmentation is compared. The full ADE20K (`ADE20K_2016_07_26`, `ADE20K_2021_17_01`) has some 3 000 classes
in its `_seg.png` files, R / 10 * 256 + G, with instances in B; they are not the classes of the benchmark.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.datasets.ade20k.layout import Ade20kSplit, find_ade20k_split
from panoptic.datasets.ade20k.maps import CLASSES, draw_segments, list_segments
from panoptic.datasets.ade20k.things import CLASS_OF_THING
from panoptic.datasets.coco import ImageSource, VerifiedImage
from panoptic.datasets.label_maps import StoredMap, read_maps
from panoptic.datasets.stems import Naming, pair_stems
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.index import ImageRecord
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import open_files

CATEGORIES_FILE = "objectInfo150.txt"
_AGAIN = "fetch the archive again"
_NAMING = Naming(
    "ADE20K",
    stem=re.compile(r"ADE_[a-z]+_\d{8}", re.ASCII),
    example="ADE_..._00000001",
    splits="'training' and 'validation'",
    again=_AGAIN,
)


def find_source(root: Path, split: str) -> ImageSource:
    """List the images of a split below `root`. Raises `DatasetError` like `find_ade20k_split` and `find_images`."""
    parts = find_ade20k_split(root, split)
    inspect = Ade20kInspector(parts)
    verifiers = [partial(inspect, stem) for stem in find_images(parts)]
    archives = (parts.images.path, parts.semantic.path, parts.instances.path)
    return ImageSource(read_categories(archives[0]), archives[0], None, verifiers, archives)


def read_categories(challenge: Path) -> CategoryTable:
    """Read the 150 classes of `objectInfo150.txt`: id = class - 1, the full name, things by `CLASS_OF_THING`.

    `challenge` is ADEChallengeData2016.zip. Raises `DatasetError` unless there is one row with a name for each of the
    classes 1 to 150.
    """
    where = f"{challenge}: {CATEGORIES_FILE}"
    header, *rows = open_files(challenge).read(CATEGORIES_FILE).decode(errors="replace").splitlines() or [""]
    columns = [column.strip() for column in header.split("\t")]
    if columns[0] != "Idx" or columns[-1] != "Name":
        raise DatasetError(f"{where}: the first line is {header!r}; expected 'Idx', ..., 'Name' with tabs; {_AGAIN}")
    issues = Issues()
    names: dict[int, str] = {}
    for line, row in enumerate(rows, 2):
        if not row.strip():
            continue
        fields = [field.strip() for field in row.split("\t")]
        number = int(fields[0]) if fields[0].isdecimal() else 0
        if len(fields) != len(columns) or not fields[-1] or not 1 <= number <= CLASSES:
            issues.add(f"line {line}: {row!r}; expected {len(columns)} columns, a class 1 to {CLASSES} and its name")
        elif number in names:
            issues.add(f"line {line}: class {number} is there twice, '{names[number]}' and '{fields[-1]}'")
        else:
            names[number] = fields[-1]
    missing = [number for number in range(1, CLASSES + 1) if number not in names]
    if missing:
        issues.add(f"{len(names)} classes instead of {CLASSES}; missing: {shown_ids(missing)}; {_AGAIN}")
    issues.raise_if_any(where)
    entries = [
        {"id": number - 1, "name": names[number], "isthing": int(number in CLASS_OF_THING)} for number in sorted(names)
    ]
    return CategoryTable.from_json(entries, where)


def find_images(split: Ade20kSplit) -> tuple[str, ...]:
    """List the stems of a split's images, sorted.

    Raises `DatasetError` with all issues together: a stem without image, semantic map or instances, a name that is not
    of the form of ADE20K, two images with one number, no images.
    """
    issues = Issues()
    stems = pair_stems((split.images, split.semantic, split.instances), _NAMING, issues)
    owners: dict[int, str] = {}
    for stem in stems:
        owner = owners.setdefault(_number(stem), stem)
        if owner != stem:
            issues.add(f"{split.images.path}: {owner} and {stem} have the same number; remove one")
    issues.raise_if_any(str(split.images.path.parent))
    return stems


@dataclass(frozen=True)
class Ade20kInspector:
    """Makes the panoptic image of a stem; it is pickled as paths, whose files each process opens once."""

    split: Ade20kSplit

    def __call__(self, stem: str) -> VerifiedImage:
        """Verify an image and draw its map, whose PNG is named `<stem>.png`.

        Raises `DatasetError` if the image, the semantic map or the instances are missing, damaged, of different sizes
        or otherwise wrong.
        """
        maps = self.split.semantic, self.split.instances
        size, (semantic_map, instance_map) = read_maps(self.split.images, maps, stem, _AGAIN)
        instances = decode_id_map(instance_map.data, instance_map.where)
        ids = draw_segments(_decode_classes(semantic_map), instances, instance_map.where)
        segments = list_segments(ids, instance_map.where)
        record = ImageRecord(_number(stem), self.split.images.name(stem), f"{stem}.png", *size, segments)
        return VerifiedImage(record, ids, encode_id_map(ids))


def _number(stem: str) -> int:
    return int(stem.rpartition("_")[2])


def _decode_classes(semantic_map: StoredMap) -> NDArray[np.uint8]:
    """Decode a semantic map to (H,W) classes 0 to 150."""
    classes = semantic_map.decode_gray(np.uint8)
    if classes.size and classes.max() > CLASSES:
        found = shown_ids(np.unique(classes[classes > CLASSES]).tolist())
        raise DatasetError(
            f"{semantic_map.where}: classes {found}; expected 0 to {CLASSES}; {_AGAIN} or correct the file"
        )
    return classes
