"""Write or validate a zip of instances for COCO's evaluation server; it is read in place, never unpacked.

Names and layout follow https://cocodataset.org/#upload: `detections_<split>_<algorithm>_results.zip` contains one JSON
of that name, a list as in https://cocodataset.org/#format-results, section 2: image, category, mask as RLE, and score.
Boxes are not needed for masks. The server looks at the `MOST_INSTANCES` instances of an image with the highest scores.
"""

import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, require_same_type
from panoptic.format.panoptic_json import ImageEntry
from panoptic.instances.results import InstanceResult, listed_results, parse_result
from panoptic.instances.rle import check_size
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import replace_atomically
from panoptic.io.json_fields import JsonObject, load_json, parse_json
from panoptic.io.zip_entries import add_file
from panoptic.tools.submission.container import read_entry, sort_entries
from panoptic.tools.submission.validate import InvalidSubmission, SubmissionName, check_zip

MOST_INSTANCES = 100
# A small zip can expand to more than the memory. This much JSON holds 100 masks of 2.6 kB per image.
_JSON_BYTES, _JSON_BYTES_PER_IMAGE = 1 << 20, 1 << 18


@dataclass(frozen=True)
class InstancesName(SubmissionName):
    """The parts of the names in a submission of instances."""

    task: ClassVar[str] = "detections"


def make_instances(
    results_json: Path,
    images: Sequence[ImageEntry],
    name: InstancesName,
    out: Path,
    categories: CategoryTable | None = None,
) -> Path:
    """Write the zip with the instances on `images` to the folder `out`, and return its path.

    Results for other images are left out, and so are those of an image beyond `MOST_INSTANCES`, with the lowest scores;
    both are counted. Equal results give equal bytes.

    Raises:
        DatasetError: the results cannot be read.
        InvalidSubmission: there is none for any image, or the server would refuse them for another reason.
    """
    found = _read_results(results_json, images)
    if not any(image.id in found for image in images):
        raise InvalidSubmission(f"{results_json}: no result for any of {len(images)} images; predict them")
    kept = {
        image.id: sorted(found[image.id], key=lambda result: -result.score)[:MOST_INSTANCES]
        for image in images
        if image.id in found
    }
    path = out / f"{name.stem}.zip"
    out.mkdir(parents=True, exist_ok=True)
    document = json.dumps([_entry(result) for results in kept.values() for result in results]).encode()
    with replace_atomically(path) as partial:
        with zipfile.ZipFile(partial, "w") as archive:
            add_file(archive, f"{name.stem}.json", document, zipfile.ZIP_DEFLATED)
        check_instances(partial, name, images, categories, shown=path)
    _print_what_is_left_out(found, kept, images)
    return path


def check_instances(
    path: Path,
    name: InstancesName,
    images: Sequence[ImageEntry],
    categories: CategoryTable | None = None,
    shown: Path | None = None,
) -> None:
    """Do nothing if the zip at `path`, to be uploaded as `name`, holds valid instances on `images`.

    Category ids are checked only if `categories` are given. `shown` is the path to name in errors, if it is another.
    Raises `InvalidSubmission` with every issue, `DatasetError` if there is no file.
    """
    check_zip(
        path,
        shown or path.with_name(f"{name.stem}.zip"),
        lambda archive, issues: _check_content(archive, name.stem, images, categories, issues),
    )


def _read_results(path: Path, images: Sequence[ImageEntry]) -> dict[ImageId, list[InstanceResult]]:
    """Read the results by image. Raises `DatasetError` with every malformed one."""
    found: dict[ImageId, list[InstanceResult]] = defaultdict(list)
    issues = Issues()
    for entry in listed_results(load_json(path), str(path)):
        with issues.collected():
            result = parse_result(entry)
            found[result.image_id].append(result)
    issues.raise_if_any(str(path))
    require_same_type(found, [image.id for image in images], str(path), "the list of images")
    return dict(found)


def _entry(result: InstanceResult) -> dict[str, object]:
    counts = result.mask["counts"]
    return {
        "image_id": result.image_id,
        "category_id": result.category_id,
        "segmentation": {
            "size": result.mask["size"],
            "counts": counts if isinstance(counts, str) else counts.decode(),
        },
        "score": result.score,
    }


def _print_what_is_left_out(
    found: Mapping[ImageId, Sequence[InstanceResult]],
    kept: Mapping[ImageId, Sequence[InstanceResult]],
    images: Sequence[ImageEntry],
) -> None:
    others = {image_id: len(results) for image_id, results in found.items() if image_id not in kept}
    beyond = {image_id: more for image_id, results in kept.items() if (more := len(found[image_id]) - len(results))}
    for counts, why in (
        (others, "belong to images that are not listed"),
        (beyond, f"are not among the {MOST_INSTANCES} with the highest scores of their image"),
    ):
        if counts:
            shown = shown_ids(list(counts), 3)
            print(f"{sum(counts.values())} results {why} and were left out (image ids {shown})")
    if empty := [image.id for image in images if image.id not in kept]:
        print(f"{len(empty)} of {len(images)} images have no result (image ids {shown_ids(empty, 3)})")


def _check_content(
    archive: zipfile.ZipFile,
    stem: str,
    images: Sequence[ImageEntry],
    categories: CategoryTable | None,
    issues: Issues,
) -> None:
    content = sort_entries(archive.infolist(), stem, issues)
    if content.masks:
        issues.add(f"{len(content.masks)} PNGs ({shown_ids(list(content.masks), 3)}) are not instances; remove them")
    if content.results is None:
        return
    with issues.collected():
        data = read_entry(archive, content.results, _JSON_BYTES + _JSON_BYTES_PER_IMAGE * len(images))
        where = content.results.filename
        results = list[InstanceResult]()
        for entry in listed_results(parse_json(data, where), where):
            with issues.collected():
                results.append(parse_result(entry))
                _require_compressed(entry)
        found = Counter(result.image_id for result in results)
        require_same_type(found, [image.id for image in images], where, "the list of images")
        _check_numbers(found, images, issues)
        _check_categories(results, categories, issues)
        by_id = {image.id: image for image in images}
        for result in results:
            if image := by_id.get(result.image_id):
                with issues.collected():
                    check_size(result.mask, image.height, image.width, result.where)


def _require_compressed(entry: JsonObject) -> None:
    """Check that a mask is a text: the server's pycocotools reads lists of lengths in ground truth alone."""
    if not isinstance(entry.child("segmentation").values["counts"], str):
        raise DatasetError(f"{entry.where}: 'counts' is a list, which the server refuses; write compressed RLE")


def _check_numbers(found: Mapping[ImageId, int], images: Sequence[ImageEntry], issues: Issues) -> None:
    """Check that results belong to listed images, at most `MOST_INSTANCES` to each."""
    listed = {image.id for image in images}
    if others := [image_id for image_id in found if image_id not in listed]:
        issues.add(
            f"{len(others)} images with results are not listed (image ids {shown_ids(others)}); remove their results"
        )
    if crowded := [image_id for image_id, count in found.items() if count > MOST_INSTANCES]:
        issues.add(
            f"{len(crowded)} images have more than {MOST_INSTANCES} results (image ids {shown_ids(crowded)}); keep "
            "those with the highest scores"
        )
    if not found:
        issues.add("there is no result; predict the images")


def _check_categories(results: Sequence[InstanceResult], categories: CategoryTable | None, issues: Issues) -> None:
    if categories is None:
        return
    things = {category.id for category in categories.things}
    if wrong := sorted({result.category_id for result in results} - things):
        count = sum(result.category_id not in things for result in results)
        issues.add(f"{count} results have categories that are no things: {shown_ids(wrong)}; use those of the table")
