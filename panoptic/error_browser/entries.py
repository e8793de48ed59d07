"""What is written of each image and segment to browse: one line of JSON an image.

Names of files without a folder before them are entries of `files.zip` beside it; `image` is a path like those of the
index, from the working directory, or None where the image too is in the archive.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

FORMAT = "browse/1"
CLEAN = "none"
"""The corruption of an image that is not corrupted, of severity 0."""


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A true or predicted segment. `box_xywh` and `area` in pixels; `mask`, of things alone, is a crop to the box.

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
    """An image as it is, or under a corruption.

    Qualities are fractions of 1, averaged over the classes that occur in this image, None where none does; `lost` by
    kind of error adds up to 1 - `pq`. `pq_lost_to_corruption`: the clean image's PQ less this one's.
    """

    image_id: int
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
    lost: Mapping[str, float]
    stuff_ground_truth: str
    stuff_prediction: str
    overlay: str
    ground_truth: tuple[SegmentEntry, ...]
    prediction: tuple[SegmentEntry, ...]

    @property
    def key(self) -> str:
        """Names the image among all, as a folder in the archive does."""
        return image_key(self.image_id, self.corruption, self.severity)

    def to_line(self) -> str:
        """One line of JSON without its end."""
        return json.dumps(asdict(self))


def image_key(image_id: int, corruption: str, severity: int) -> str:
    return f"{image_id:012d}/{corruption}_{severity}"
