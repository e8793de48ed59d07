"""Panoptic images of ADE20K, made from its archives, which are read in place: 100 things and 50 classes of stuff.

`find_source` lists a split, and `Ade20kInspector` verifies one image and draws its panoptic map by the rule of
`panoptic.datasets.ade20k.maps`, which also says what differs from the published conversion.

ADE20K comes in several layouts. This is the one of ADEChallengeData2016.zip with annotations_instance.tar, on which
panoptic segmentation is compared. The full ADE20K (`ADE20K_2016_07_26`, `ADE20K_2021_17_01`) has some 3 000 classes
in its `_seg.png` files, R / 10 * 256 + G, with instances in B; they are not the classes of the benchmark.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from panoptic.data.decoding import verify_image
from panoptic.data.image_header import open_image, read_header
from panoptic.datasets.ade20k.layout import Ade20kSplit, find_ade20k_split
from panoptic.datasets.ade20k.maps import CLASSES, draw_segments, list_segments
from panoptic.datasets.ade20k.things import CLASS_OF_THING
from panoptic.datasets.coco import ImageSource, VerifiedImage
from panoptic.datasets.layout import Part
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.index import ImageRecord
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import open_files, opened_files
from panoptic.io.png import claimed_header

CATEGORIES_FILE = "objectInfo150.txt"
_STEM = re.compile(r"ADE_[a-z]+_(\d{8})", re.ASCII)
_AGAIN = "fetch the archive again"


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
    stems = {part: _stems(part, issues) for part in (split.images, split.semantic, split.instances)}
    everything = sorted(frozenset().union(*stems.values()))
    owners: dict[int, str] = {}
    for stem in everything:
        for part, present in stems.items():
            # If a part is missing as a whole, that is one issue and not thousands.
            if present and stem not in present:
                issues.add(f"{part.path}: {_name(part, stem)} is missing; {_AGAIN}")
        owner = owners.setdefault(_number(stem), stem)
        if owner != stem:
            issues.add(f"{split.images.path}: {owner} and {stem} have the same number; remove one")
    issues.raise_if_any(str(split.images.path.parent))
    return tuple(everything)


@dataclass(frozen=True)
class Ade20kInspector:
    """Makes the panoptic image of a stem; it is pickled as paths, whose files each process opens once."""

    split: Ade20kSplit

    def __call__(self, stem: str) -> VerifiedImage:
        """Verify an image and draw its map, whose PNG is named `<stem>.png`.

        Raises `DatasetError` if the image, the semantic map or the instances are missing, damaged, of different sizes
        or otherwise wrong.
        """
        image, semantic_map, instance_map = (
            (opened_files(part.path).read(_name(part, stem)), f"{part.path}: {_name(part, stem)}")
            for part in (self.split.images, self.split.semantic, self.split.instances)
        )
        # All sizes first: a file that claims to be enormous is never decoded.
        size = read_header(BytesIO(image[0]), image[1]).size(upright=False)
        for data, where in (semantic_map, instance_map):
            _check_png(data, size, where)
        verify_image(*image)
        ids = draw_segments(_decode_classes(*semantic_map), decode_id_map(*instance_map), instance_map[1])
        segments = list_segments(ids, instance_map[1])
        record = ImageRecord(_number(stem), _name(self.split.images, stem), f"{stem}.png", *size, segments)
        return VerifiedImage(record, ids, encode_id_map(ids))


def _stems(part: Part, issues: Issues) -> frozenset[str]:
    names = part.names()
    stems = {name: name.removeprefix(part.folder).removesuffix(part.suffix) for name in names}
    if not names:
        folders = sorted({name.rpartition("/")[0] + "/" for name in open_files(part.path).names()})
        expected = f"no {part.folder}*{part.suffix}, but files in {', '.join(folders[:8]) or 'no folder'}"
        issues.add(f"{part.path}: {expected}; the splits are 'training' and 'validation'; name one, or {_AGAIN}")
    for name, why in open_files(part.path).unusable().items():
        if name.startswith(part.folder) and name.endswith(part.suffix):
            issues.add(f"{part.path}: {name!r} {why}")
    for name, stem in stems.items():
        if not _STEM.fullmatch(stem):
            expected = f"{part.folder}ADE_..._00000001{part.suffix}"
            issues.add(f"{part.path}: {name!r} is no name of ADE20K, like {expected}; remove it or {_AGAIN}")
    return frozenset(filter(_STEM.fullmatch, stems.values()))


def _name(part: Part, stem: str) -> str:
    return f"{part.folder}{stem}{part.suffix}"


def _number(stem: str) -> int:
    return int(stem.rpartition("_")[2])


def _check_png(data: bytes, size: tuple[int, int], where: str) -> None:
    """Raise `DatasetError` unless it is a PNG whose header has the (height, width) of its image."""
    header = claimed_header(data)
    if header is None:
        raise DatasetError(f"{where}: not a PNG file; {_AGAIN}")
    if (header.height, header.width) != size:
        sizes = f"{header.height} x {header.width} (height x width), but that of its image is {size[0]} x {size[1]}"
        raise DatasetError(f"{where}: the size is {sizes}; {_AGAIN}")


def _decode_classes(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode a semantic map, the bytes of an 8-bit gray PNG with a header, to (H,W) classes 0 to 150."""
    header = claimed_header(data)
    assert header
    if (header.bits, header.color_type) != (8, 0):
        found = f"{header.bits} bits of color type {header.color_type}"
        raise DatasetError(f"{where}: the PNG has {found}; expected 8 of type 0, gray, which are classes; {_AGAIN}")
    try:
        with open_image(BytesIO(data)) as image:
            image.verify()  # the checksums, which decoding ignores
        with open_image(BytesIO(data)) as image:
            classes = np.asarray(image, np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, zlib.error, struct.error):
        raise DatasetError(f"{where}: the PNG is damaged; {_AGAIN}") from None
    if classes.size and classes.max() > CLASSES:
        found = shown_ids(np.unique(classes[classes > CLASSES]).tolist())
        raise DatasetError(f"{where}: classes {found}; expected 0 to {CLASSES}; {_AGAIN} or correct the file")
    return classes
