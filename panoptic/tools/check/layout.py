"""Finding the splits of a dataset that may be incomplete, and recognizing other formats if there are none.

A split is expected for every name of a panoptic JSON or a folder of panoptic PNGs; see `panoptic.datasets.layout`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from panoptic.datasets.known import DATASETS
from panoptic.datasets.layout import SplitFiles
from panoptic.io.errors import DatasetError
from panoptic.io.files import folder_or_archive
from panoptic.io.folder import Folder, spelled_on_disk
from panoptic.io.json_fields import read_json
from panoptic.io.names import is_litter, normal_text
from panoptic.io.reading import open_file
from panoptic.tools.check.issues import Issue

_PREFIX = "panoptic_"
# Bytes at either end of a file that show its format; those of LabelMe hold a whole image between them.
_SHOWS_FORMAT = 1 << 16
_CONVERT = "python -m panoptic.tools.convert"


def find_splits(root: Path) -> tuple[dict[str, SplitFiles], list[Issue]]:
    """Find the parts of every split below `root`, whether they exist or not, and issues about JSONs that were left out.

    Raises `DatasetError` if there is no split, which says what is there instead and what to do with it.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: there is no such folder; give that of a dataset")
    annotations = root / "annotations"
    splits: dict[str, SplitFiles] = {}
    issues = []
    for name in sorted(set(_split_names(annotations))):
        masks, images = folder_or_archive(annotations / f"{_PREFIX}{name}"), folder_or_archive(root / name)
        files = SplitFiles(spelled_on_disk(annotations / f"{_PREFIX}{name}.json"), masks, images)
        if masks.exists() or images.exists() or _is_panoptic(files.panoptic_json):
            splits[name] = files
        else:
            found = "its annotations have no 'segments_info', and there are no PNGs or images for it"
            issues.append(Issue("json-ignored", "", str(files.panoptic_json), found))
    if not splits:
        raise DatasetError(f"{root}: {describe_other(root)}")
    issues += (Issue("file-unusable", "", f"{root}: {name}", why) for name, why in Folder(root).unusable().items())
    return splits, issues


def _split_names(annotations: Path) -> Iterator[str]:
    for path in annotations.glob(f"{_PREFIX}*"):
        if path.is_dir() or (path.suffix in (".json", ".zip") and path.is_file()):
            yield normal_text(path.name if path.is_dir() else path.stem).removeprefix(_PREFIX)


def _is_panoptic(path: Path) -> bool:
    """Tell whether a JSON is meant to be panoptic; one in COCO's detection format may have a similar name."""
    try:
        annotations = read_json(path).values.get("annotations")
    except DatasetError:
        return True
    if not isinstance(annotations, list) or not annotations:
        return True
    return any(isinstance(entry, dict) and "segments_info" in entry for entry in annotations)


def describe_other(root: Path) -> str:
    """Describe a folder that is not a dataset in panoptic layout, and what to do with it."""
    for name, description in DATASETS.items():
        if any((root / mark).exists() for mark in description.marks):
            return f"this is {name} as it is published; set dataset.name to {name} and run: dvc repro annotate"
    if list(root.glob(f"{_PREFIX}*.json")):
        return "panoptic JSONs are here, not in 'annotations'; give the parent folder, or each part by its own option"
    return _other_format(root) or (
        "there is no split in COCO panoptic layout; expected annotations/panoptic_<split>.json, annotations/"
        "panoptic_<split> and <split> (folders or .zip); or give --panoptic-json, --masks and --images"
    )


def _other_format(root: Path) -> str:
    """Name the format of the annotations and the command that converts them; empty if there are none."""
    for path in _first_files(root, "*.json"):
        beginning, end = _ends(path)
        if '"shapes"' in beginning and '"imagePath"' in f"{beginning}{end}":
            command = f"{_CONVERT} {path.parent} --classes classes.yaml --out NEW_FOLDER --val-fraction 0.2"
            return f"{path.name} seems to be made by LabelMe; convert the folder: {command} (see docs/own-data.md)"
        if re.search(r'"(images|annotations|categories)"\s*:', beginning):
            command = f"{_CONVERT} {path} --images FOLDER --out NEW_FOLDER --split train"
            what = f"{path.name} seems to hold instances in COCO's format, and no panoptic JSON is here"
            return f"{what}; convert it: {command}; semantic PNGs go with --semantic (see docs/own-data.md)"
    for path in _first_files(root, "*.xml"):
        if re.search(r"<annotations[\s>]", _ends(path)[0]):
            return (
                f"{path.name} seems to be exported from CVAT; export the task as 'COCO 1.0', and convert the JSON:"
                f" {_CONVERT} instances_default.json --images FOLDER --out NEW_FOLDER (see docs/own-data.md)"
            )
    return ""


def _first_files(root: Path, pattern: str, count: int = 20) -> list[Path]:
    """The first files, at most two folders deep."""
    files = (path for depth in ("", "*/", "*/*/") for path in sorted(root.glob(f"{depth}{pattern}")))
    data = (path for path in files if not is_litter(path.relative_to(root).as_posix()))
    return [path for _, path in zip(range(count), data, strict=False) if path.is_file()]


def _ends(path: Path) -> tuple[str, str]:
    """Read the beginning and the end of a file, which are the same in a small one."""
    with open_file(path) as file:
        beginning = file.read(_SHOWS_FORMAT)
        file.seek(max(0, path.stat().st_size - _SHOWS_FORMAT))
        return beginning.decode(errors="replace"), file.read().decode(errors="replace")
