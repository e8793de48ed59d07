"""Panoptic quality (Kirillov et al., CVPR 2019) by the rules of COCO's public benchmark.

A predicted and a true segment of one class match where their IoU is above 0.5; then PQ = SQ * RQ with
SQ = mean IoU of the matches and RQ = tp / (tp + fp / 2 + fn / 2), averaged over the classes that occur.
Areas are counted in the id maps, and every crowd region of a class counts. Boundary PQ has the same rules with
min(mask IoU, boundary IoU) in the place of the IoU.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.overlaps import Overlaps
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import VOID
from panoptic.format.segments import AnnotatedSegment, SegmentLabel
from panoptic.io.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Match:
    """A true and a predicted segment of one class that cover each other with an IoU above 0.5."""

    gt_id: int
    prediction_id: int
    category_id: int
    iou: float


@dataclass(frozen=True, slots=True)
class Matching:
    """What became of the segments of one image; crowd regions and forgiven predictions appear nowhere."""

    matches: tuple[Match, ...]
    missed: tuple[SegmentLabel, ...]
    spurious: tuple[SegmentLabel, ...]


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """Counts of one class, in an image or a dataset. Qualities are fractions of 1; None if it does not occur."""

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
    """Adds up images. The order of images is the order of summation."""

    def __init__(self, categories: CategoryTable) -> None:
        self._categories = categories
        self._counts = {category.id: ClassQuality() for category in categories}

    def add(self, counts: Mapping[int, ClassQuality]) -> None:
        """Add the counts of one image, by category id."""
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


@dataclass(frozen=True, slots=True)
class MatchingRules:
    """How segments are matched.

    `panopticapi` reproduces what the public tool does otherwise: the union takes a true segment's area from the JSON
    (`AnnotatedSegment.area`) instead of counting pixels, only the last listed crowd region of a class forgives, and
    true ids that are drawn but not listed, or the reverse, are not noticed.
    """

    panopticapi: bool = False


def match_overlaps(
    overlaps: Overlaps,
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    rules: MatchingRules = MatchingRules(),
) -> Matching:
    """Match the segments of one image by whole masks; without other rules the ids drawn are exactly those listed."""
    masks = _mask_areas(overlaps, ground_truth, rules)
    return _match(masks, masks, ground_truth, prediction, rules)


def match_boundaries(
    overlaps: Overlaps,
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    rules: MatchingRules = MatchingRules(),
) -> Matching:
    """Match by min(mask IoU, boundary IoU), for boundary PQ (Cheng et al., CVPR 2021); `overlaps` counted with bands.

    Boundary IoU is the IoU of the two segments' bands, where pixels of the predicted band on true void are left out of
    the union. What is forgiven is decided by whole masks, as in the authors' code.
    """
    bands = _Areas(overlaps, overlaps.in_gt_band, overlaps.in_prediction_band, overlaps.in_both_bands)
    return _match(_mask_areas(overlaps, ground_truth, rules), bands, ground_truth, prediction, rules)


def _match(
    masks: "_Areas",
    bands: "_Areas",
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    rules: MatchingRules,
) -> Matching:
    gt_by_id = {segment.id: segment for segment in ground_truth}
    prediction_by_id = {segment.id: segment for segment in prediction}
    crowds = [segment for segment in ground_truth if segment.is_crowd]
    if rules.panopticapi:
        crowds = list({segment.category_id: segment for segment in crowds}.values())
    forgiving = {segment.id for segment in crowds}

    matches = []
    # Pixels that are neither right nor wrong for a prediction: void, and crowd of its own class.
    forgiven: dict[int, int] = defaultdict(int, masks.on_void)
    for pair, pixels in masks.shared.items():
        gt, predicted = gt_by_id.get(pair[0]), prediction_by_id.get(pair[1])
        if gt is None or predicted is None or gt.category_id != predicted.category_id:
            continue
        if gt.is_crowd:
            forgiven[predicted.id] += pixels if gt.id in forgiving else 0
            continue
        # An IoU above 0.5 with one segment leaves too little for another, so the order of pairs does not matter.
        iou = min(masks.iou(pair), bands.iou(pair))
        if iou > 0.5:
            matches.append(Match(gt.id, predicted.id, gt.category_id, iou))

    found = {match.gt_id for match in matches}
    used = {match.prediction_id for match in matches}
    missed = (segment for segment in ground_truth if not segment.is_crowd and segment.id not in found)
    wrong = (segment for segment in prediction if segment.id not in used)
    spurious = (segment for segment in wrong if forgiven[segment.id] <= masks.of_prediction[segment.id] / 2)
    return Matching(tuple(matches), tuple(missed), tuple(spurious))


class _Areas:
    """Areas by id, and what pairs share, in whole masks or in bands."""

    def __init__(
        self,
        overlaps: Overlaps,
        ground_truth: NDArray[np.int64],
        prediction: NDArray[np.int64],
        both: NDArray[np.int64],
    ) -> None:
        self.of_gt: dict[int, int] = defaultdict(int)
        self.of_prediction: dict[int, int] = defaultdict(int)
        self.shared: dict[tuple[int, int], int] = {}
        self.on_void: dict[int, int] = defaultdict(int)
        columns = (overlaps.gt_ids, overlaps.prediction_ids, ground_truth, prediction, both)
        for gt_id, prediction_id, in_gt, in_prediction, in_both in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            self.of_gt[gt_id] += in_gt
            self.of_prediction[prediction_id] += in_prediction
            if gt_id == VOID:
                self.on_void[prediction_id] = in_prediction
            elif prediction_id != VOID:
                self.shared[gt_id, prediction_id] = in_both

    def iou(self, pair: tuple[int, int]) -> float:
        """IoU of a pair, true void left out; 0 where the areas that a JSON claims leave no union."""
        gt_id, prediction_id = pair
        shared = self.shared[pair]
        union = self.of_gt[gt_id] + self.of_prediction[prediction_id] - shared - self.on_void[prediction_id]
        return shared / union if union > 0 else 0.0


def _mask_areas(overlaps: Overlaps, ground_truth: Sequence[SegmentLabel], rules: MatchingRules) -> _Areas:
    areas = _Areas(overlaps, overlaps.pixels, overlaps.pixels, overlaps.pixels)
    if rules.panopticapi:
        for segment in ground_truth:
            area = segment.area if isinstance(segment, AnnotatedSegment) else None
            if area is None:
                raise DatasetError(f"segment {segment.id} has no 'area' in the JSON, which panopticapi needs; add it")
            areas.of_gt[segment.id] = area
    return areas


def count_by_class(matching: Matching) -> dict[int, ClassQuality]:
    """Counts of one image, by category id, for the classes that occur in it."""
    tp = Counter(match.category_id for match in matching.matches)
    fp = Counter(segment.category_id for segment in matching.spurious)
    fn = Counter(segment.category_id for segment in matching.missed)
    iou_sums: dict[int, float] = defaultdict(float)
    for match in matching.matches:
        iou_sums[match.category_id] += match.iou
    occurring = sorted(tp.keys() | fp.keys() | fn.keys())
    return {key: ClassQuality(tp[key], fp[key], fn[key], iou_sums[key]) for key in occurring}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
