"""What the command `panoptic convert` does, apart from its parser: see `__main__`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoptic.data.decoding import reading_notes
from panoptic.datasets.layout import describe_left_out, describe_skipped, is_image
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import open_files
from panoptic.tools.convert.classes import read_classes
from panoptic.tools.convert.coco import open_coco
from panoptic.tools.convert.images import Images
from panoptic.tools.convert.labelme import open_labelme
from panoptic.tools.convert.summary import SplitSummary, unused_classes
from panoptic.tools.convert.writing import Source, split_randomly, write_splits


def convert(options: argparse.Namespace) -> None:
    """Convert the source that the options name, and print what was written and what was left out."""
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
