"""Verify the dataset and write what the later stages read: an index per split, instances, the category table.

    python -m stages.annotate --params params.yaml --output runs/annotations

Writes `train.json` and `val.json` (panoptic indices), `instances_train.json` and `instances_val.json` (COCO's
detection format, made from the panoptic PNGs) and `categories.json` into the output folder. Nothing is written
unless every picture of both splits is sound.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from panoptic.commands import run_command
from panoptic.detection_format import to_detection_format
from panoptic.errors import DatasetError
from panoptic.files import write_atomically
from panoptic.index import PanopticIndex
from panoptic.layout import DatasetSettings, find_split
from panoptic.verification import build_index
from stages.settings import load_section


def annotate(root: Path, train: str, val: str, output: Path) -> None:
    """Verify the splits `train` and `val` below `root` and write the files of this stage into `output`."""
    indices = {"train": _verified(root, train), "val": _verified(root, val)}
    categories = indices["train"].categories
    difference = categories.describe_difference(indices["val"].categories)
    if difference:
        raise DatasetError(f"{root}: split '{val}' has other categories than '{train}': {difference}; use one list")
    instances = {role: to_detection_format(index, progress=True) for role, index in indices.items()}
    for role, index in indices.items():
        index.save(output / f"{role}.json")
        write_atomically(output / f"instances_{role}.json", instances[role])
    table = json.dumps({"categories": categories.to_json()}, indent=1) + "\n"
    write_atomically(output / "categories.json", table.encode())
    for role, index in indices.items():
        segments = sum(len(record.segments) for record in index.records)
        print(f"{role}: {len(index.records)} pictures, {segments} segments")
    print(f"categories: {len(categories.things)} things, {len(categories.stuff)} stuff; written to {output}")


def _verified(root: Path, split: str) -> PanopticIndex:
    files = find_split(root, split)
    return build_index(files.panoptic_json, files.masks, files.images, progress=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.annotate", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'dataset' is read")
    parser.add_argument("--root", type=Path, help="folder of the dataset, instead of the one in the settings")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "dataset", DatasetSettings)
        annotate(arguments.root or Path(settings.root), settings.train, settings.val, arguments.output)

    run_command(stage)


if __name__ == "__main__":
    main()
