"""Own annotations to COCO's panoptic layout, which everything here reads (docs/own-data.md leads through it).

    python -m panoptic.tools.convert FOLDER --classes classes.yaml --out datasets/own --val-share 0.2
    python -m panoptic.tools.convert instances.json --images images/ --out datasets/own --split train
    python -m panoptic.tools.convert instances.json --images images/ --semantic maps/ --classes classes.yaml ...

A folder is taken for files of LabelMe, a JSON file for COCO's instance format (polygons, masks, crowds; also CVAT's
export 'COCO 1.0'). `panoptic.tools.convert.classes` describes the class table, `panoptic.tools.convert.drawing` what
becomes of regions that overlap. The source is never changed: images are hard links to it, or copies where the disk is
another. Nothing is written if there is any issue, and all issues are listed.

CVAT's other formats are not read, and no library that would reads them alongside the packages that this project needs
(datumaro holds pillow and pandas back): export 'COCO 1.0'.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from panoptic.runtime.cli import run_command
from panoptic.tools.convert.classes import read_classes
from panoptic.tools.convert.coco import open_coco
from panoptic.tools.convert.drawing import ORDERS, SMALLER
from panoptic.tools.convert.images import REFUSE, SUFFIXES, TURNED, Images
from panoptic.tools.convert.labelme import open_labelme
from panoptic.tools.convert.writing import Source, SplitSummary, share_out, write_splits


def open_source(options: argparse.Namespace) -> Source:
    """The source that the command line names. Raises `DatasetError` for what is no source, with the way around."""
    path: Path = options.source
    classes = read_classes(options.classes) if options.classes else None
    _refuse_cvat(path)
    if path.is_dir():
        if options.semantic or options.no_crowds:
            raise DatasetError(f"{path}: --semantic and --no-crowds go with a JSON file in COCO's instance format")
        return open_labelme(path, Images(open_files(options.images or path), options.turned), classes)
    if options.images is None:
        raise DatasetError(f"{path}: where are its images? Give their folder or zip file with --images")
    semantic = open_files(options.semantic) if options.semantic else None
    if semantic and classes is None:
        raise DatasetError(f"{options.semantic}: what do the values mean? Give a class table with --classes")
    return open_coco(path, Images(open_files(options.images), options.turned), classes, semantic, options.no_crowds)


def _refuse_cvat(path: Path) -> None:
    if path.suffix == ".xml" or (path / "annotations.xml").is_file():
        hint = "export the task as 'COCO 1.0' and give its annotations/instances_default.json"
        raise DatasetError(f"{path}: CVAT's own format is not read; {hint}")
    if path.suffix == ".zip":
        raise DatasetError(f"{path}: a zip file; unpack it, and give the JSON or the folder with LabelMe's files")
    if (path / "annotations").is_dir():
        names = ", ".join(sorted(file.name for file in (path / "annotations").glob("*.json")))
        raise DatasetError(f"{path}: give the JSON itself, in annotations/: {names}; and the images with --images")


def summary_lines(split: str, summary: SplitSummary, categories: CategoryTable) -> list[str]:
    """What a person wants to know of a split that was written."""
    things = ", ".join(f"{category.name} {summary.segments[category.name]}" for category in categories.things)
    stuff = ", ".join(f"{category.name} {summary.segments[category.name]}" for category in categories.stuff)
    lines = [
        f"{split}: {summary.images} images, {summary.void / max(summary.pixels, 1):.1%} of their pixels void",
        f"  things, segments: {things or 'none'}" + (f"; of these {summary.crowds} crowds" if summary.crowds else ""),
        f"  stuff, images with it: {stuff or 'none'}",
    ]
    if summary.empty:
        lines.append(f"  note: {summary.empty} images have no segment at all, every pixel is void")
    if summary.hidden:
        share, name = summary.most_hidden
        lines.append(
            f"  note: {summary.hidden / summary.instance_pixels:.1%} of the instances' pixels lie under others and"
            f" were given to those on top; most in {name}, {share:.1%}"
        )
    return lines


def _notes(source: Source, summaries: Mapping[str, SplitSummary]) -> list[str]:
    notes = []
    for category in source.classes.categories:
        if not any(summary.segments[category.name] for summary in summaries.values()):
            notes.append(f"note: no image shows '{category.name}'")
    taken = sum(summary.images for summary in summaries.values())
    there = sum(name.lower().endswith(SUFFIXES) for name in source.images.files.names())
    if there > taken:
        notes.append(f"note: {there - taken} of {there} images have no annotation and were left out")
    return notes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.convert", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with LabelMe's files, or JSON in COCO's instance format")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset to write")
    parser.add_argument("--images", type=Path, help="the images, folder or zip file (default: LabelMe's folder)")
    parser.add_argument("--semantic", type=Path, help="semantic PNGs, named as the images: folder or zip file")
    parser.add_argument("--classes", type=Path, help="YAML or JSON: which classes are things, which stuff")
    parser.add_argument("--split", default="train", help="name of the split (default: %(default)s)")
    parser.add_argument("--val-share", type=float, help="instead: part the images into train and val, as 0.2")
    parser.add_argument("--seed", type=int, default=0, help="of --val-share (default: %(default)s)")
    parser.add_argument(
        "--on-top", choices=ORDERS, default=SMALLER, help="of instances that overlap (default: %(default)s)"
    )
    parser.add_argument("--no-crowds", action="store_true", help="crowds are instances: CVAT marks brushed masks so")
    parser.add_argument("--turned", choices=TURNED, default=REFUSE, help="what a photo to be shown turned becomes")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(argv)

    def command() -> None:
        source = open_source(options)
        items = source.items()
        splits: Mapping[str, Sequence[str]] = {options.split: items}
        if options.val_share is not None:
            splits = share_out(items, "train", "val", options.val_share, options.seed)
        summaries = write_splits(source, splits, options.out, options.on_top, progress=True)
        for split, summary in summaries.items():
            print("\n".join(summary_lines(split, summary, source.classes.categories)))
        print("\n".join([*_notes(source, summaries), f"written to {options.out}"]))

    run_command(command)


if __name__ == "__main__":
    main()
