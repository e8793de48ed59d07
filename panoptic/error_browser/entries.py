"""The records of the error browser: one line of JSON for each image, written by stages.browse.

Names of files without a folder before them are entries of `files.zip` beside the lines; `image` is a path like those of
the index, relative to the working directory, or None where the image is in the archive, too.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

FORMAT = "browse/2"
CLEAN = "none"
"""The corruption of an image that is not corrupted; its severity is 0."""
SIDES = ("ground_truth", "prediction")
FALSE_NEGATIVES = ("merging", "classification", "localization", "missed")
"""The outcomes of ground truth segments that are false negatives."""
FALSE_POSITIVES = ("classification", "localization", "background")
"""The outcomes of predicted segments that are false positives."""


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A ground truth or predicted segment. `box_xywh` and `area` in pixels; things have a `mask`, cropped to the box.

    `outcome` and `other_id` are those of `panoptic.error_browser.outcomes`; `score` is None where none is given.
    """

    id: int
    category_id: int
    outcome: str
    iou: float
    boundary_iou: float
    other_id: int | None
    other_category_id: int | None
    is_crowd: bool
    score: float | None
    area: int
    box_xywh: tuple[int, int, int, int]
    mask: str | None


@dataclass(frozen=True, slots=True)
class BrowserEntry:
    """An image, clean or under a corruption.

    Qualities are fractions of 1, averaged over the classes that occur in this image, None where none does; `pq_loss` by
    error type adds up to 1 - `pq`. `pq_lost_to_corruption`: the clean image's PQ minus this one's.
    """

    image_id: int | str
    file_name: str
    corruption: str
    severity: int
    image: str | None
    height: int
    width: int
    pq: float | None
    boundary_pq: float | None
    pq_lost_to_corruption: float | None
    tp: int
    fp: int
    fn: int
    pq_loss: Mapping[str, float]
    stuff_ground_truth: str
    stuff_prediction: str
    overlay: str
    ground_truth: tuple[SegmentEntry, ...]
    prediction: tuple[SegmentEntry, ...]

    @property
    def segments(self) -> dict[str, tuple[SegmentEntry, ...]]:
        """The segments by side."""
        return {"ground_truth": self.ground_truth, "prediction": self.prediction}

    def to_line(self) -> str:
        """One line of JSON without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "BrowserEntry":
        """The entry that `to_line` wrote."""
        fields = json.loads(line)
        for side in SIDES:
            segments = (entry | {"box_xywh": tuple(entry["box_xywh"])} for entry in fields[side])
            fields[side] = tuple(SegmentEntry(**entry) for entry in segments)
        return cls(**fields)
