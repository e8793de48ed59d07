"""Every type of issue that `check` can find in a dataset, with its severity and a hint, and a single issue."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from panoptic.format.id_map import MAX_ID
from panoptic.format.image_id import ImageId
from panoptic.io.errors import DatasetError

# A segment with fewer pixels is more often a slip than an object.
TINY_AREA = 16


class Severity(StrEnum):
    """`error`: the dataset is refused, or its scores would be wrong; `warning`: worth a look; `note`: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class IssueType:
    """A type of issue; `name` is stable for programs that read the JSON."""

    name: str
    severity: Severity
    title: str
    hint: str


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue: its type, its split ("" for the dataset), file and position, and what was found there."""

    type: str
    split: str
    where: str
    found: str
    image_id: ImageId | None = None

    @property
    def severity(self) -> Severity:
        return ISSUE_TYPES[self.type].severity

    @property
    def hint(self) -> str:
        return ISSUE_TYPES[self.type].hint


_ERRORS = (
    ("part-missing", "a part of a split is missing or cannot be opened", "add it, or fetch it again"),
    ("json-unreadable", "a JSON cannot be read", "write or fetch the file again"),
    ("json-field", "a field is missing or of the wrong type", "correct the field, in the form that COCO documents"),
    ("no-annotations", "a split has no annotated image", "add at least one"),
    ("category-twice", "one category id stands for several categories", "give each category its own id"),
    ("categories-differ", "splits have different categories", "write one list into the JSON of every split"),
    ("image-id-twice", "an image id is listed or annotated twice", "give each image its own id, and one annotation"),
    ("image-unannotated", "a listed image has no annotation", "add its annotation, or remove it from 'images'"),
    ("image-undeclared", "an annotated image is not in 'images'", "add it there, or remove the annotation"),
    ("image-missing", "a listed image does not exist", "add the file, or remove its entry from the JSON"),
    ("image-damaged", "an image cannot be decoded", "replace the file"),
    ("image-type", "an image is of a type that is not read", "save it as JPEG, or as PNG with 8 or 16 bits a sample"),
    ("png-missing", "a panoptic PNG does not exist", "add the file, or remove the annotation"),
    ("png-shared", "several annotations name one PNG", "give each image its own PNG"),
    ("png-damaged", "a panoptic PNG is damaged", "write or fetch the file again"),
    ("png-not-rgb", "a panoptic PNG is not 8-bit RGB", "save it as 8-bit RGB with id = R + 256 G + 65536 B"),
    ("bomb", "a file claims an absurd size", "do not open it with other programs; replace the file"),
    ("file-unusable", "something is no file that can be read", "remove it, or mend its link: DVC reads everything"),
    ("name-leaves-folder", "a file name leaves its folder", "use a plain relative name"),
    ("size-differs", "JSON, PNG and image have different sizes", "correct the file, or 'height' and 'width'"),
    ("segment-id", "a segment id cannot be drawn", f"use 1 to {MAX_ID}: 0 is void, and a PNG holds no more"),
    ("segment-twice", "a segment id is listed twice for an image", "list each segment once"),
    ("unknown-category", "a segment has a category that is not listed", "correct it, or add it to 'categories'"),
    ("drawn-unlisted", "ids are drawn but not listed", "add them to 'segments_info', or paint them void (0)"),
    ("listed-undrawn", "segments are listed but not drawn", "draw them, or remove them from 'segments_info'"),
    ("stuff-divided", "a stuff class has several segments in an image", "merge them into one id"),
)
_WARNINGS = (
    ("area-differs", "'area' disagrees with the pixels", "write the number of drawn pixels; annotate measures again"),
    ("box-differs", "'bbox' disagrees with the pixels", "write the tightest [left, top, width, height]"),
    ("category-name-twice", "categories share a name", "give each its own: reports list classes by name"),
    ("thing-without-instance", "a thing class has no instance in any split", "draw one, or remove the class"),
    (
        "more-things-than-queries",
        "images have more segments than the network finds",
        "raise model.queries and model.selected_queries, or divide the images",
    ),
    ("void-image", "an image has no segment at all", "annotate it, or remove it"),
    ("exif-rotation", "an image asks to be rotated (EXIF)", "rotate the pixels, or remove the tag, which is ignored"),
    (
        "png-transparent",
        "a panoptic PNG has transparent pixels",
        "save it without alpha, and look at its segments: some programs lose the color of transparent pixels",
    ),
    (
        "image-bit-depth",
        "an image has more than 8 bits a sample",
        "nothing, if the bits (the fewest of 8, 10, 12, 14, 16 that hold its values) are right; else save it with 8",
    ),
    ("image-frames", "a file has several images", "save the one that is annotated as a file of its own"),
    ("image-shared", "several image ids name one file", "list each file once"),
    ("image-duplicate", "a split has the same image twice", "keep one of them"),
    ("image-across-splits", "several splits have the same image", "keep it in one, or scores will be too high"),
    ("image-unlisted", "an image is not in the JSON", "annotate it, or remove the file"),
    ("png-unlisted", "a panoptic PNG is not in the JSON", "list it, or remove the file"),
)
_NOTES = (
    ("class-not-in-split", "a class occurs only in another split", "it is either not learned or not evaluated"),
    ("stuff-unused", "a stuff class occurs in no split", "nothing, if that is intended"),
    ("thing-like-stuff", "a thing class is drawn like stuff", "set 'isthing' to 0 if its instances are not separated"),
    ("tiny-segment", f"segments have fewer than {TINY_AREA} pixels", "check whether they are intended"),
    ("image-alpha", "an image has an alpha channel, which is ignored", "nothing, if hidden pixels may be seen"),
    ("id-across-splits", "splits share image ids", "nothing: ids are separate for each split"),
    ("files-left-out", "files of a split are not used", "nothing, if they are no images; else convert them"),
    (
        "more-things-than-ap",
        "images have more things than AP counts",
        "nothing: by COCO's rule AP counts the 100 most probable detections of an image, PQ counts all",
    ),
    ("json-ignored", "a JSON is not a panoptic split and was left out", "nothing, if that is intended"),
)
ISSUE_TYPES = {
    name: IssueType(name, severity, title, hint)
    for severity, rows in ((Severity.ERROR, _ERRORS), (Severity.WARNING, _WARNINGS), (Severity.NOTE, _NOTES))
    for name, title, hint in rows
}


def count_severities(issues: Iterable[Issue]) -> dict[Severity, int]:
    """Count the issues of each severity, the worst first."""
    counts = dict.fromkeys(Severity, 0)
    for issue in issues:
        counts[issue.severity] += 1
    return counts


def by_type(issues: Iterable[Issue]) -> dict[IssueType, list[Issue]]:
    """Group the issues by type; the worst types first, in the order in which they are listed here."""
    groups: dict[str, list[Issue]] = {}
    for issue in issues:
        groups.setdefault(issue.type, []).append(issue)
    return {issue_type: groups[name] for name, issue_type in ISSUE_TYPES.items() if name in groups}


def what_was_found(error: DatasetError, where: str) -> str:
    """Extract the finding of a message `where: finding; hint`: an issue has the other two itself."""
    return str(error).removeprefix(f"{where}: ").split("; ")[0]
