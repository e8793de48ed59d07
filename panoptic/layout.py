"""Where the parts of a dataset lie: the layout of COCO, each part a folder or a zip file.

<root>/<split>/ or <root>/<split>.zip                                              images
<root>/annotations/panoptic_<split>.json                                           segments and categories
<root>/annotations/panoptic_<split>/ or <root>/annotations/panoptic_<split>.zip    panoptic PNGs
"""

from dataclasses import dataclass
from pathlib import Path

from panoptic.errors import DatasetError
from panoptic.files import folder_or_archive


@dataclass(frozen=True)
class DatasetSettings:
    """Which dataset: its name, its folder, and the splits to learn from and to be scored on."""

    name: str = "mini"
    root: str = "data/mini"
    train: str = "train"
    val: str = "val"


@dataclass(frozen=True)
class SplitFiles:
    """The parts of one split."""

    panoptic_json: Path
    masks: Path
    images: Path


def find_split(root: Path, split: str) -> SplitFiles:
    """The parts of a split below `root`. Raises `DatasetError` that lists every part that is missing."""
    annotations = root / "annotations"
    panoptic_json = annotations / f"panoptic_{split}.json"
    masks, images = folder_or_archive(annotations / f"panoptic_{split}"), folder_or_archive(root / split)
    missing = [str(panoptic_json)] if not panoptic_json.is_file() else []
    missing += [f"{path} (folder or .zip)" for path in (masks, images) if not path.exists()]
    if missing:
        raise DatasetError(f"{root}: split '{split}' is incomplete; missing: {', '.join(missing)}")
    return SplitFiles(panoptic_json, masks, images)
