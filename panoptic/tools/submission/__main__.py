"""Write or validate the zip of panoptic results, or of instances, that COCO's evaluation server accepts.

    python -m panoptic.tools.submission make --predictions-json runs/predict/panoptic.json
        --predictions-folder runs/predict/panoptic --images image_info_test-dev2017.json
        --split test-dev2017 --name ALGORITHM --out FOLDER
    python -m panoptic.tools.submission instances --instances-json runs/predict/instances.json
        --images image_info_test-dev2017.json --split test-dev2017 --name ALGORITHM --out FOLDER
    python -m panoptic.tools.submission validate FOLDER/panoptic_test-dev2017_ALGORITHM_results.zip
        --images image_info_test-dev2017.json --categories panoptic_coco_categories.json

Reads the results of any system in COCO's formats. `panoptic.tools.submission.validate` describes and checks the layout
of panoptic results, `panoptic.tools.submission.instances` that of instances; `validate` tells them apart by the name of
the zip. Exits with status 1 if the results cannot be submitted.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from panoptic.format.annotations import Annotation, PanopticAnnotations, read_annotations
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, require_same_type
from panoptic.format.panoptic_json import ImageEntry
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import FileSource, open_files, replace_atomically
from panoptic.io.json_fields import load_json
from panoptic.io.zip_entries import add_file
from panoptic.runtime.cli import run_command
from panoptic.tools.image_list import read_categories, read_image_list
from panoptic.tools.submission.instances import InstancesName, check_instances, make_instances
from panoptic.tools.submission.validate import SPLITS, InvalidSubmission, SubmissionName, check_submission


def make_submission(
    predictions_json: Path,
    masks: Path,
    images: Sequence[ImageEntry],
    name: SubmissionName,
    out: Path,
    categories: CategoryTable | None = None,
    progress: bool = False,
) -> Path:
    """Write the zip with the results for `images` to the folder `out`, and return its path.

    Results for other images are left out: test2017 may be predicted as a whole. Segments keep only `id` and
    `category_id`; PNGs are copied unchanged and named after their images. Equal results give equal bytes.

    Raises:
        DatasetError: the results cannot be read, or belong to other categories.
        InvalidSubmission: they lack an image, or the server would refuse them for another reason.
    """
    results = _read_results(predictions_json, categories)
    table = categories or results.categories
    if table:
        table.require_same(results.categories, str(predictions_json), "those given")
    by_image = results.by_image
    require_same_type(by_image, [image.id for image in images], str(predictions_json), "the list of images")
    missing = [image.id for image in images if image.id not in by_image]
    if missing:
        raise InvalidSubmission(
            f"{predictions_json}: no result for {len(missing)} of {len(images)} images "
            f"(image ids {shown_ids(missing)}); predict them too"
        )
    file_names = _file_names(images)
    path = out / f"{name.stem}.zip"
    out.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as partial:
        _write(partial, name.stem, file_names, by_image, open_files(masks), progress)
        check_submission(partial, name, images, table, progress, shown=path)
    left_out = [image_id for image_id in by_image if image_id not in file_names]
    if left_out:
        shown = shown_ids(left_out, 3)
        print(f"{len(left_out)} results belong to images that are not listed and were left out (image ids {shown})")
    return path


def _read_results(path: Path, categories: CategoryTable | None) -> PanopticAnnotations:
    try:
        return read_annotations(path, known=categories)
    except DatasetError as error:
        document = load_json(path)
        if categories or not isinstance(document, dict) or "categories" in document:
            raise
        hint = "results without 'categories' need those of the dataset: --categories"
        raise DatasetError(*str(error).split("\n"), hint) from None


def _file_names(images: Sequence[ImageEntry]) -> dict[ImageId, str]:
    """Name the PNG of each image in the zip after the image; returns names by image id."""
    names: dict[str, ImageId] = {}
    for image in images:
        file_name = f"{PurePosixPath(image.file_name).stem}.png"
        if names.setdefault(file_name, image.id) != image.id:
            both = f"{names[file_name]} and {image.id}"
            raise DatasetError(f"image ids {both} would share the result '{file_name}'; rename one of the images")
    return {image_id: file_name for file_name, image_id in names.items()}


def _write(
    path: Path,
    stem: str,
    file_names: Mapping[ImageId, str],
    results: Mapping[ImageId, Annotation],
    masks: FileSource,
    progress: bool,
) -> None:
    """Write the zip. Raises `DatasetError` with every PNG that cannot be read."""
    annotations = []
    issues = Issues()
    with zipfile.ZipFile(path, "w") as archive:
        for image_id, file_name in tqdm(file_names.items(), desc="pack", unit="image", disable=not progress):
            result = results[image_id]
            infos = [{"id": segment.id, "category_id": segment.category_id} for segment in result.segments]
            annotations.append({"image_id": image_id, "file_name": file_name, "segments_info": infos})
            with issues.collected():
                add_file(archive, f"{stem}/{file_name}", masks.read(result.file_name))  # compressed already
        document = json.dumps({"annotations": annotations}).encode()
        add_file(archive, f"{stem}.json", document, zipfile.ZIP_DEFLATED)
    issues.raise_if_any(str(masks.path))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.submission", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="write a zip of panoptic results")
    make.add_argument("--predictions-json", type=Path, required=True, help="panoptic JSON of the predictions")
    make.add_argument("--predictions-folder", type=Path, required=True, help="folder or zip file of their PNGs")
    instances = commands.add_parser("instances", help="write a zip of instances")
    instances.add_argument("--instances-json", type=Path, required=True, help="COCO results with masks")
    for command in (make, instances):
        command.add_argument("--split", choices=SPLITS, required=True, help="split that was predicted")
        command.add_argument("--name", required=True, help="name of the algorithm on the server")
        command.add_argument("--out", type=Path, required=True, help="folder for the zip")
    validate = commands.add_parser("validate", help="list everything that is wrong with a zip")
    validate.add_argument("zip", type=Path, help="{panoptic,detections}_<split>_<algorithm>_results.zip")
    for command in (make, instances, validate):
        command.add_argument("--images", type=Path, required=True, help="JSON that lists the split's images")
        command.add_argument("--categories", type=Path, help="JSON with COCO's panoptic categories")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        images = read_image_list(arguments.images)
        categories = read_categories(arguments.categories) if arguments.categories else None
        try:
            if arguments.command == "make":
                name = SubmissionName(arguments.split, arguments.name)
                files = arguments.predictions_json, arguments.predictions_folder
                path = make_submission(*files, images, name, arguments.out, categories, progress=True)
                print(f"{path}: results of {len(images)} images, validated and ready to upload")
            elif arguments.command == "instances":
                instances_name = InstancesName(arguments.split, arguments.name)
                path = make_instances(arguments.instances_json, images, instances_name, arguments.out, categories)
                print(f"{path}: instances on {len(images)} images, validated and ready to upload")
            else:
                _validate(arguments.zip, images, categories)
                print(f"{arguments.zip}: results of {len(images)} images; no issues found")
        except InvalidSubmission as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    run_command(command)


def _validate(path: Path, images: Sequence[ImageEntry], categories: CategoryTable | None) -> None:
    """Check a zip of the kind that its name tells. Raises `InvalidSubmission` with every issue."""
    kind = InstancesName if path.name.lower().startswith(f"{InstancesName.task}_") else SubmissionName
    try:
        name = kind.of_zip(path.name)
    except DatasetError as error:
        raise InvalidSubmission(f"{path}: {error}") from None
    if isinstance(name, InstancesName):
        check_instances(path, name, images, categories)
    else:
        check_submission(path, name, images, categories, progress=True)


if __name__ == "__main__":
    main()
