"""Panoptic quality (Kirillov et al., CVPR 2019) by the rules of COCO's public benchmark.

A predicted and a true segment of one class match where their IoU is above 0.5; then PQ = SQ * RQ with
SQ = mean IoU of the matches and RQ = tp / (tp + fp / 2 + fn / 2), averaged over the classes that occur.
Areas are counted in the id maps, and every crowd region of a class counts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.id_map import VOID
from panoptic.segments import SegmentLabel


@dataclass(frozen=True, slots=True)
class Match:
    """A true and a predicted segment of one class that cover each other with an IoU above 0.5."""

    truth_id: int
    prediction_id: int
    category_id: int
    iou: float


@dataclass(frozen=True, slots=True)
class Matching:
    """What became of the segments of one picture; crowd regions and forgiven predictions appear nowhere."""

    matches: tuple[Match, ...]
    missed: tuple[SegmentLabel, ...]
    spurious: tuple[SegmentLabel, ...]


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """Counts of one class, in a picture or a dataset. Qualities are fractions of 1; None if it does not occur."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_sum: float = 0.0

    def __add__(self, other: "ClassQuality") -> "ClassQuality":
        iou_sum = self.iou_sum + other.iou_sum
        return ClassQuality(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, iou_sum)

    @property
    def occurs(self) -> bool:
        return self.tp + self.fp + self.fn > 0

    @property
    def pq(self) -> float | None:
        return self.iou_sum / (self.tp + self.fp / 2 + self.fn / 2) if self.occurs else None

    @property
    def sq(self) -> float | None:
        if not self.occurs:
            return None
        return self.iou_sum / self.tp if self.tp else 0.0

    @property
    def rq(self) -> float | None:
        return self.tp / (self.tp + self.fp / 2 + self.fn / 2) if self.occurs else None


@dataclass(frozen=True, slots=True)
class GroupQuality:
    """Averages over the classes of a group that occur, fractions of 1; None where none occurs."""

    pq: float | None
    sq: float | None
    rq: float | None
    classes: int


@dataclass(frozen=True)
class PanopticQuality:
    """The result for a dataset. `per_class` has every category of the table, by id."""

    all: GroupQuality
    things: GroupQuality
    stuff: GroupQuality
    per_class: Mapping[int, ClassQuality]


class QualityCounter:
    """Adds up pictures. The order of pictures is the order of summation."""

    def __init__(self, categories: CategoryTable) -> None:
        self._categories = categories
        self._counts = {category.id: ClassQuality() for category in categories}

    def add(self, counts: Mapping[int, ClassQuality]) -> None:
        """Add the counts of one picture, by category id."""
        for category_id, quality in counts.items():
            self._counts[category_id] += quality

    def result(self) -> PanopticQuality:
        def group(members: Sequence[int]) -> GroupQuality:
            occurring = [self._counts[member] for member in members if self._counts[member].occurs]
            return GroupQuality(
                pq=_mean([quality.pq for quality in occurring]),
                sq=_mean([quality.sq for quality in occurring]),
                rq=_mean([quality.rq for quality in occurring]),
                classes=len(occurring),
            )

        things = [category.id for category in self._categories.things]
        stuff = [category.id for category in self._categories.stuff]
        return PanopticQuality(group(things + stuff), group(things), group(stuff), dict(self._counts))


def match_segments(
    truth_ids: NDArray[np.int32],
    truth: Sequence[SegmentLabel],
    prediction_ids: NDArray[np.int32],
    prediction: Sequence[SegmentLabel],
) -> Matching:
    """Match the segments of one picture; both id maps are (H,W), and their ids are exactly those listed."""
    return match_overlaps(count_overlaps(truth_ids, prediction_ids), truth, prediction)


def match_overlaps(
    overlaps: Mapping[tuple[int, int], int], truth: Sequence[SegmentLabel], prediction: Sequence[SegmentLabel]
) -> Matching:
    """Match the segments of one picture by the pixels that each pair of ids shares (see `count_overlaps`)."""
    truth_areas: dict[int, int] = defaultdict(int)
    prediction_areas: dict[int, int] = defaultdict(int)
    for (truth_id, prediction_id), pixels in overlaps.items():
        truth_areas[truth_id] += pixels
        prediction_areas[prediction_id] += pixels
    truth_by_id = {segment.id: segment for segment in truth}
    prediction_by_id = {segment.id: segment for segment in prediction}

    matches = []
    # Pixels that are neither right nor wrong for a prediction: void, and crowd of its own class.
    forgiven: dict[int, int] = defaultdict(int)
    for (truth_id, prediction_id), pixels in overlaps.items():
        if prediction_id == VOID:
            continue
        if truth_id == VOID:
            forgiven[prediction_id] += pixels
            continue
        true, predicted = truth_by_id[truth_id], prediction_by_id[prediction_id]
        if true.category_id != predicted.category_id:
            continue
        if true.is_crowd:
            forgiven[prediction_id] += pixels
            continue
        void = overlaps.get((VOID, prediction_id), 0)
        iou = pixels / (truth_areas[truth_id] + prediction_areas[prediction_id] - pixels - void)
        if iou > 0.5:
            matches.append(Match(truth_id, prediction_id, true.category_id, iou))

    found = {match.truth_id for match in matches}
    used = {match.prediction_id for match in matches}
    missed = (segment for segment in truth if not segment.is_crowd and segment.id not in found)
    wrong = (segment for segment in prediction if segment.id not in used)
    spurious = (segment for segment in wrong if forgiven[segment.id] <= prediction_areas[segment.id] / 2)
    return Matching(tuple(matches), tuple(missed), tuple(spurious))


def count_by_class(matching: Matching) -> dict[int, ClassQuality]:
    """Counts of one picture, by category id, for the classes that occur in it."""
    counts: dict[int, ClassQuality] = defaultdict(ClassQuality)
    for match in matching.matches:
        counts[match.category_id] += ClassQuality(tp=1, iou_sum=match.iou)
    for segment in matching.missed:
        counts[segment.category_id] += ClassQuality(fn=1)
    for segment in matching.spurious:
        counts[segment.category_id] += ClassQuality(fp=1)
    return dict(counts)


def count_overlaps(truth_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """Pixels that each pair of ids shares, for two (H,W) id maps. Pairs that share none are left out.

    Works on runs of pixels with the same pair, of which a picture has far fewer than pixels.
    """
    if truth_ids.shape != prediction_ids.shape:
        raise ValueError(f"id maps differ in size: {truth_ids.shape} and {prediction_ids.shape}")
    truth, prediction = truth_ids.reshape(-1), prediction_ids.reshape(-1)
    changes = (truth[1:] != truth[:-1]) | (prediction[1:] != prediction[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=truth.size)
    pairs, members = np.unique(truth[starts].astype(np.int64) << 24 | prediction[starts], return_inverse=True)
    pixels = np.zeros(len(pairs), np.int64)
    np.add.at(pixels, members, lengths)
    keys = zip((pairs >> 24).tolist(), (pairs & 0xFFFFFF).tolist(), strict=True)
    return dict(zip(keys, pixels.tolist(), strict=True))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
