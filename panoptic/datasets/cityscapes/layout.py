"""The layout of Cityscapes, as its archives unpack into one folder. A stem is `<city>/<city>_<sequence>_<frame>`.

<root>/leftImg8bit/<split>/<stem>_leftImg8bit.png          images
<root>/gtFine/<split>/<stem>_gtFine_instanceIds.png        instances: 16-bit gray, 1000 label + number, or a label
<root>/gtFine/<split>/<stem>_gtFine_labelIds.png           labels: 8-bit gray
"""

import re
from dataclasses import dataclass
from pathlib import Path

from panoptic.datasets.layout import Part
from panoptic.datasets.stems import Naming, pair_stems
from panoptic.io.errors import DatasetError, Issues, shown_ids

IMAGES, ANNOTATIONS = "leftImg8bit", "gtFine"
ARCHIVES = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
AGAIN = "unpack its archive again"
HINT = f"""Cityscapes cannot be fetched without a login, so download it by hand:
  1. register at https://www.cityscapes-dataset.com, log in, and accept the license
  2. download {ARCHIVES[0]} (11 GB) and {ARCHIVES[1]} (241 MB)
  3. unpack both into one folder, which then has {IMAGES}/ and {ANNOTATIONS}/, and set dataset.root to it"""
_UNPACK = f"unpack {' and '.join(ARCHIVES)} into one folder"
_NAMING = Naming(
    "Cityscapes",
    stem=re.compile(r"([^/]+)/\1_\d{6}_\d{6}", re.ASCII),
    example="aachen/aachen_000000_000019",
    splits="'train' and 'val'",
    again=AGAIN,
)


@dataclass(frozen=True)
class CityscapesSplit:
    """The parts of one split, whose files have the same stems."""

    images: Part
    instances: Part
    labels: Part


def find_cityscapes_split(root: Path, split: str) -> CityscapesSplit:
    """Find the parts of a split. Raises `DatasetError` that lists every missing folder and what is there instead."""
    images, annotations = root / IMAGES / split, root / ANNOTATIONS / split
    missing = [str(folder) for folder in (images, annotations) if not folder.is_dir()]
    if missing:
        raise DatasetError(f"{root}: Cityscapes is incomplete; missing: {', '.join(missing)}; {_describe(root, split)}")
    return CityscapesSplit(
        images_of(root, split),
        Part(annotations, suffix="_gtFine_instanceIds.png"),
        Part(annotations, suffix="_gtFine_labelIds.png"),
    )


def images_of(root: Path, split: str) -> Part:
    """The images of a split, with or without annotations."""
    return Part(root / IMAGES / split, suffix="_leftImg8bit.png")


def find_images(split: CityscapesSplit) -> tuple[str, ...]:
    """List the stems of a split's images, sorted.

    Raises `DatasetError` with all issues together: an image without map or the reverse, a file of another name.
    """
    issues = Issues()
    stems = pair_stems((split.images, split.instances, split.labels), _NAMING, issues)
    issues.raise_if_any(f"{split.images.path} and {split.labels.path}")
    return stems


def _describe(root: Path, split: str) -> str:
    """Describe where the parts of a split are instead, and what to do."""
    for folder in (root.parent, root.parent.parent):
        if all((folder / part / split).is_dir() for part in (IMAGES, ANNOTATIONS)):
            return f"they are in {folder}; set dataset.root to that"
    if deeper := [path for part in (IMAGES, ANNOTATIONS) for path in sorted(root.glob(f"*/{part}")) if path.is_dir()]:
        return f"found {shown_ids(deeper)}, one folder too deep; move these up into {root}, or correct dataset.root"
    if packed := sorted(root.glob(f"{IMAGES}_*.zip")) + sorted(root.glob(f"{ANNOTATIONS}_*.zip")):
        return f"found {shown_ids(packed)}; unpack both into {root}"
    if splits := sorted({path.name for path in root.glob(f"{IMAGES}/*") if path.is_dir()}):
        return f"{IMAGES} has the splits {shown_ids(splits)}; correct the split, or {_UNPACK}"
    return f"{_UNPACK}, and set dataset.root to it"
