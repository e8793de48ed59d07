"""Convert your own annotations to COCO's panoptic layout, which everything here reads (guide: docs/own-data.md).

    python -m panoptic.tools.convert FOLDER --classes classes.yaml --out datasets/own --val-fraction 0.2
    python -m panoptic.tools.convert instances.json --images images/ --out datasets/own --split train
    python -m panoptic.tools.convert instances.json --images images/ --semantic maps/ --classes classes.yaml ...

A folder is expected to hold LabelMe files, a JSON file to be in COCO's instance format (polygons, RLE, crowds; also
CVAT's export 'COCO 1.0'). `panoptic.tools.convert.classes` describes the class table, `panoptic.tools.convert.drawing`
the treatment of overlaps. The source is never changed: images are hard-linked, or copied to another file system. If
there are any issues, all of them are listed and nothing is written.

CVAT's other formats are not supported, because no library that reads them can be installed beside the packages of this
project (datumaro requires older versions of pillow and pandas): export 'COCO 1.0'.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoptic.data.decoding import reading_notes
from panoptic.datasets.layout import describe_left_out, describe_skipped, is_image
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import open_files
from panoptic.runtime.cli import run_command
from panoptic.tools.convert.classes import read_classes
from panoptic.tools.convert.coco import open_coco
from panoptic.tools.convert.drawing import ORDERS, SMALLER
from panoptic.tools.convert.images import ORIENTATIONS, REFUSE, Images
from panoptic.tools.convert.labelme import open_labelme
from panoptic.tools.convert.summary import SplitSummary, unused_classes
from panoptic.tools.convert.writing import Source, split_randomly, write_splits


def open_source(options: argparse.Namespace) -> Source:
    """Open the source that the command line names. Raises `DatasetError` with a hint for unsupported ones."""
    path: Path = options.source
    classes = read_classes(options.classes) if options.classes else None
    _refuse_cvat(path)
    if path.is_dir():
        if options.semantic or options.no_crowds:
            raise DatasetError(f"{path}: --semantic and --no-crowds need a JSON file in COCO's instance format")
        images = Images(open_files(options.images or path), options.exif_orientation)
        return open_labelme(path, images, classes, options.classes)
    if options.images is None:
        raise DatasetError(f"{path}: where are its images? Give a folder or zip file with --images")
    semantic = open_files(options.semantic) if options.semantic else None
    if semantic and classes is None:
        raise DatasetError(f"{options.semantic}: which classes do the values mean? Give a class table with --classes")
    images = Images(open_files(options.images), options.exif_orientation, apart=options.out)
    return open_coco(path, images, classes, semantic, options.no_crowds)


def _refuse_cvat(path: Path) -> None:
    if path.suffix == ".xml" or (path / "annotations.xml").is_file():
        hint = "export the task as 'COCO 1.0' and give its annotations/instances_default.json"
        raise DatasetError(f"{path}: CVAT's own format is not supported; {hint}")
    if path.suffix == ".zip":
        raise DatasetError(f"{path}: is a zip file; unpack it, and give the JSON or the folder of LabelMe files")
    if (path / "annotations").is_dir():
        names = ", ".join(sorted(file.name for file in (path / "annotations").glob("*.json")))
        raise DatasetError(f"{path}: give a JSON file in annotations/ ({names}), and the images with --images")


def _notes(source: Source, summaries: Mapping[str, SplitSummary]) -> list[str]:
    unused = unused_classes(summaries, source.classes.categories)
    notes = [f"note: no image shows {shown_ids(unused, 3)} ({len(unused)} of the classes)"] if unused else []
    names = [name for name in source.images.finder.names if not name.lower().endswith(".json")]
    images = list(filter(is_image, names))
    converted = {name for summary in summaries.values() for name in summary.files}
    if others := [name for name in images if name not in converted]:
        notes.append(
            f"note: {len(others)} of {len(images)} images have no annotation and were left out ({shown_ids(others, 3)})"
        )
    left_out = (*describe_left_out(names), *describe_skipped(source.images.files))
    return [*notes, *(f"note: {found}" for found in left_out)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.convert", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of LabelMe files, or JSON in COCO's instance format")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset to write")
    parser.add_argument("--images", type=Path, help="folder or zip file of the images (default: LabelMe's folder)")
    parser.add_argument("--semantic", type=Path, help="folder or zip file of semantic PNGs, named like the images")
    parser.add_argument("--classes", type=Path, help="class table (YAML or JSON)")
    parser.add_argument("--split", default="train", help="name of the split (default: %(default)s)")
    parser.add_argument("--val-fraction", type=float, help="split randomly into train and val, as 0.2")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random split (default: %(default)s)")
    parser.add_argument(
        "--on-top", choices=ORDERS, default=SMALLER, help="the instance that covers others (default: %(default)s)"
    )
    parser.add_argument(
        "--no-crowds", action="store_true", help="convert crowds to instances; CVAT marks brush masks as crowds"
    )
    parser.add_argument(
        "--exif-orientation",
        choices=ORIENTATIONS,
        default=REFUSE,
        help="for photos that have one (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(argv)

    def command() -> None:
        source = open_source(options)
        items = source.items()
        splits: Mapping[str, Sequence[str]] = {options.split: items}
        if options.val_fraction is not None:
            splits = split_randomly(items, options.val_fraction, options.seed)
        summaries = write_splits(source, splits, options.out, options.on_top, progress=True)
        for split, summary in summaries.items():
            print(summary.describe(split, source.classes.categories))
        written = open_files(options.out)
        images = (name for name in written.names() if name.partition("/")[0] in summaries)
        notes = [*_notes(source, summaries), *reading_notes(written, images)]
        print("\n".join([*notes, f"written to {options.out}"]))

    run_command(command)


if __name__ == "__main__":
    main()
