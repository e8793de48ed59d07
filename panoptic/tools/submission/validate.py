"""Validate a zip of panoptic results for COCO's evaluation server; it is read in place, never unpacked.

Names and layout follow https://cocodataset.org/#upload, steps 3 and 4: `panoptic_<split>_<algorithm>_results.zip`
contains a JSON and a folder of all PNGs, both named like the zip. The JSON follows
https://cocodataset.org/#format-results, section 4. The server scores with panopticapi, which stops at the first image
without a result, id that is drawn but not listed or vice versa, or unknown category: here, all of them are reported.
Undocumented fields such as `score` are allowed, because panopticapi ignores them.
"""

import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from tqdm import tqdm

from panoptic.format.annotations import Annotation, check_drawn
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import MAX_ID, VOID, decode_id_map
from panoptic.format.image_id import ImageId, require_same_type
from panoptic.format.panoptic_json import ImageEntry
from panoptic.format.segments import SegmentLabel, measure_segments
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.json_fields import JsonObject, parse_json
from panoptic.io.png import claimed_header
from panoptic.io.reading import open_file, require_file
from panoptic.tools.submission.container import UNREADABLE, SubmissionContent, read_entry, sort_entries

SPLITS = ("val2017", "test-dev2017", "test-challenge2017")
_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# A small zip can expand to more than the memory. This much JSON holds 300 segments per image.
_JSON_BYTES, _JSON_BYTES_PER_IMAGE = 1 << 20, 1 << 14
_PNG_BYTES, _PNG_BYTES_PER_PIXEL = 1 << 16, 4
_HINTS = {
    "ids that cannot be drawn": f"use 1 to {MAX_ID}",
    "ids more than once": "list each segment once",
    "unknown categories": "use those of the category table",
    "stuff classes more than once": "merge the segments of each class",
}


@dataclass(frozen=True)
class SubmissionName:
    """The parts of the names in a submission.

    Raises `DatasetError` for a split that COCO's server does not know, or an algorithm whose name no file can have.
    """

    task: ClassVar[str] = "panoptic"
    split: str
    algorithm: str

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise DatasetError(f"the split is '{self.split}'; COCO's server accepts {', '.join(SPLITS)}")
        if not _ALGORITHM.fullmatch(self.algorithm):
            raise DatasetError(f"the algorithm's name is '{self.algorithm}'; use only letters, digits and . _ + -")

    @property
    def stem(self) -> str:
        """Name of the zip, the JSON and the folder, without suffix."""
        return f"{self.task}_{self.split}_{self.algorithm}_results"

    @classmethod
    def of_zip(cls, file_name: str) -> Self:
        """Parse the name of a zip file. Raises `DatasetError` for any other name."""
        found = re.fullmatch(rf"{cls.task}_([^_]*)_(.*)_results\.zip", file_name)
        if not found:
            raise DatasetError(f"the file name is '{file_name}'; call it {cls.task}_<split>_<algorithm>_results.zip")
        return cls(*found.groups())


class InvalidSubmission(DatasetError):
    """A zip that the server would refuse, or would not score as intended."""


def check_submission(
    path: Path,
    name: SubmissionName,
    images: Sequence[ImageEntry],
    categories: CategoryTable | None = None,
    progress: bool = False,
    shown: Path | None = None,
) -> None:
    """Do nothing if the zip at `path`, to be uploaded as `name`, holds one valid result for each of `images`.

    Category ids, and that stuff classes have at most one segment per image, are checked only if `categories` are given.
    `shown` is the path to name in errors, if it is another.
    Raises `InvalidSubmission` with every issue, `DatasetError` if there is no file.
    """
    check_zip(
        path,
        shown or path.with_name(f"{name.stem}.zip"),
        lambda archive, issues: _check_content(archive, name.stem, images, categories, issues, progress),
    )


def check_zip(path: Path, shown: Path, check: Callable[[zipfile.ZipFile, Issues], None]) -> None:
    """Open the zip at `path` and collect the issues that `check` finds; `shown` is the path to name in errors.

    Raises `InvalidSubmission` with every issue, `DatasetError` if there is no file.
    """
    issues = Issues()
    # Opened outside of the block: a file without read permission is not an invalid one.
    with open_file(require_file(path)) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                check(archive, issues)
        except UNREADABLE as error:
            issues.add(f"the zip file is damaged ({error}); write it again")
    try:
        issues.raise_if_any(str(shown))
    except DatasetError as error:
        raise InvalidSubmission(str(error)) from None


def _check_content(
    archive: zipfile.ZipFile,
    stem: str,
    images: Sequence[ImageEntry],
    categories: CategoryTable | None,
    issues: Issues,
    progress: bool,
) -> None:
    content = sort_entries(archive.infolist(), stem, issues)
    annotations = _read_annotations(archive, content, images, categories, issues)
    by_id = {image.id: image for image in images}
    for annotation in tqdm(annotations, desc="validate", unit="image", disable=not progress):
        entry, image = content.masks.get(annotation.file_name), by_id.get(annotation.image_id)
        if entry is not None and image is not None:
            with issues.collected():
                _check_mask(archive, entry, annotation, image)


def _read_annotations(
    archive: zipfile.ZipFile,
    content: SubmissionContent,
    images: Sequence[ImageEntry],
    categories: CategoryTable | None,
    issues: Issues,
) -> list[Annotation]:
    """Read the annotations of the JSON; malformed ones become issues."""
    annotations: list[Annotation] = []
    if content.results is None:
        return annotations
    with issues.collected():
        where = content.results.filename
        data = read_entry(archive, content.results, _JSON_BYTES + _JSON_BYTES_PER_IMAGE * len(images))
        for entry in JsonObject.of(parse_json(data, where), where).objects("annotations"):
            with issues.collected():
                annotations.append(_annotation(entry))
        found = [annotation.image_id for annotation in annotations]
        require_same_type(found, [image.id for image in images], where, "the list of images")
        _check_images(annotations, images, content, issues)
        _check_segments(annotations, categories, issues)
    return annotations


def _annotation(entry: JsonObject) -> Annotation:
    segments = (
        SegmentLabel(info.integer("id"), info.integer("category_id"), False) for info in entry.objects("segments_info")
    )
    return Annotation(entry.identifier("image_id"), entry.text("file_name"), tuple(segments))


def _check_segments(annotations: Sequence[Annotation], categories: CategoryTable | None, issues: Issues) -> None:
    """Check the listed segments; an issue that many images share is reported once."""
    images: dict[str, list[ImageId]] = defaultdict(list)
    values: dict[str, set[int]] = defaultdict(set)
    for annotation in annotations:
        for issue, wrong in _wrong_segments(annotation, categories).items():
            if wrong:
                images[issue].append(annotation.image_id)
                values[issue].update(wrong)
    for issue, image_ids in images.items():
        where = f"{len(image_ids)} images (image ids {shown_ids(image_ids)})"
        issues.add(f"{where} list {issue}: {shown_ids(sorted(values[issue]))}; {_HINTS[issue]}")


def _wrong_segments(annotation: Annotation, categories: CategoryTable | None) -> dict[str, list[int]]:
    """Find invalid ids of segments and categories of an image, by issue."""
    ids = Counter(segment.id for segment in annotation.segments)
    wrong = {
        "ids that cannot be drawn": [key for key in ids if not VOID < key <= MAX_ID],
        "ids more than once": [key for key, count in ids.items() if count > 1],
    }
    if categories is not None:
        classes = Counter(segment.category_id for segment in annotation.segments)
        stuff = {category.id for category in categories.stuff}
        wrong["unknown categories"] = [key for key in classes if key not in categories]
        wrong["stuff classes more than once"] = [key for key, count in classes.items() if count > 1 and key in stuff]
    return wrong


def _check_images(
    annotations: Sequence[Annotation], images: Sequence[ImageEntry], content: SubmissionContent, issues: Issues
) -> None:
    """Check that exactly the listed images have one result each, and each result a PNG of its own."""
    results = Counter(annotation.image_id for annotation in annotations)
    masks = Counter(annotation.file_name for annotation in annotations)
    listed = dict.fromkeys(image.id for image in images)  # in order
    repeated, shared = ([key for key, count in counts.items() if count > 1] for counts in (results, masks))
    for ids, what in (
        ([key for key in listed if key not in results], f"of {len(images)} images have no result; add theirs"),
        ([key for key in results if key not in listed], "results belong to images that are not listed; remove them"),
        (repeated, "images have more than one result; keep one each"),
    ):
        if ids:
            issues.add(f"{len(ids)} {what} (image ids {shown_ids(ids)})")
    for names, what in (
        ([key for key in masks if key not in content.masks], "PNGs are in the JSON but not in the folder; add them"),
        ([key for key in content.masks if key not in masks], "PNGs are in the folder but not in the JSON; remove them"),
        (shared, "PNGs belong to more than one result; give each its own"),
    ):
        if names:
            issues.add(f"{len(names)} {what} ({shown_ids(names, 5)})")


def _check_mask(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, annotation: Annotation, image: ImageEntry) -> None:
    """Check that the PNG is a valid id map of the image's size, with exactly the listed ids."""
    data = read_entry(archive, entry, _PNG_BYTES + _PNG_BYTES_PER_PIXEL * image.height * image.width)
    # The size first: an image that claims to be enormous is not decoded.
    header = claimed_header(data)
    if header and (header.height, header.width) != (image.height, image.width):
        claimed = f"{header.height} x {header.width} (height x width)"
        message = f"the PNG is {claimed}, but the image is {image.height} x {image.width}"
        raise DatasetError(f"{entry.filename}: {message}; write the result at that size")
    check_drawn(measure_segments(decode_id_map(data, entry.filename)).keys(), annotation, entry.filename)
