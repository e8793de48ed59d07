"""Where the PQ went: what each kind of error costs, and what PQ would be without it.

With D = tp + fp / 2 + fn / 2, a class loses 1 - PQ = (sum of 1 - IoU over the matches + fn / 2 + fp / 2) / D. Every
miss, every false positive and every disagreeing pixel of a match is laid to one kind, so that the kinds of a class
add up to what it lost:

- `merging`: a missed true thing of which the network had an instance (IoU above 0.5, same class) that the merging lost.
  Only things have such raw instances: stuff is never counted as lost in merging.
- `wrong_class`: a missed true segment and an unmatched predicted one of another class with IoU above 0.5: the miss in
  the true class, the false positive in the predicted one.
- `localisation`: missed true and unmatched predicted segments of one class with IoU from 0.1 to 0.5, paired by falling
  IoU.
- `missed`, `spurious`: all other misses and false positives.
- `boundary`, `interior`: what the matches lack to IoU 1, by the disagreeing pixels: those in the band of the segment
  that they belong to, and those deeper inside it. Without bands (distance 0) all of it is `interior`.

A miss is of the first kind that fits. What a repair mends does not depend on that order: a thing that was lost in
merging, and for which another class was predicted, would be mended by perfect classes too. IoU is that of PQ: true void
is left out.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from panoptic.account_pairs import explain_errors, segment_pairs
from panoptic.overlaps import Overlaps
from panoptic.quality import ClassQuality, Matching
from panoptic.segments import SegmentLabel


@dataclass(frozen=True, slots=True)
class Losses:
    """What each kind of error takes from the sum of IoUs of a class: divided by D, shares of 1 - PQ."""

    merging: float = 0.0
    wrong_class: float = 0.0
    localisation: float = 0.0
    missed: float = 0.0
    spurious: float = 0.0
    boundary: float = 0.0
    interior: float = 0.0

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(*(getattr(self, kind) + getattr(other, kind) for kind in KINDS))


@dataclass(frozen=True, slots=True)
class Repaired:
    """The counts that a class would have if one thing alone were repaired.

    `perfect_classes`: each pair of `wrong_class` is a match of the true class with its IoU, its false positive is gone.
    `perfect_masks`: every match and every pair of `localisation` is a match with IoU 1.
    `perfect_merging`: a true thing with a raw instance of IoU above 0.5 is a match with that IoU or its present one,
    the better of the two. False positives are still in: those of things would be gone (see `account_table`).
    """

    perfect_classes: ClassQuality = field(default_factory=ClassQuality)
    perfect_masks: ClassQuality = field(default_factory=ClassQuality)
    perfect_merging: ClassQuality = field(default_factory=ClassQuality)

    def __add__(self, other: "Repaired") -> "Repaired":
        return Repaired(*(getattr(self, name) + getattr(other, name) for name in REPAIRS))


KINDS = tuple(kind.name for kind in fields(Losses))
REPAIRS = tuple(repair.name for repair in fields(Repaired))


@dataclass(frozen=True, slots=True)
class ClassAccount:
    """The account of one class, in a picture or a dataset."""

    present: ClassQuality = field(default_factory=ClassQuality)
    lost: Losses = field(default_factory=Losses)
    repaired: Repaired = field(default_factory=Repaired)

    def __add__(self, other: "ClassAccount") -> "ClassAccount":
        return ClassAccount(self.present + other.present, self.lost + other.lost, self.repaired + other.repaired)


@dataclass(frozen=True, slots=True)
class PictureAccount:
    """The account of a picture, or of several added up, by category id; small enough to send between processes."""

    classes: Mapping[int, ClassAccount] = field(default_factory=dict)

    def __add__(self, other: "PictureAccount") -> "PictureAccount":
        added = {key: self.classes.get(key, ClassAccount()) + account for key, account in other.classes.items()}
        return PictureAccount({**self.classes, **added})


def account_picture(
    overlaps: Overlaps,
    prediction: Sequence[SegmentLabel],
    matching: Matching,
    candidate_ious: Mapping[int, float],
) -> PictureAccount:
    """Lay everything that a picture lost to its kind.

    Args:
        overlaps: of the picture, with bands if `boundary` is wanted.
        prediction: the predicted segments.
        matching: of these and the true ones, by whole masks.
        candidate_ious: by the id of a true thing, the best IoU of a raw instance of its class; empty where there are
            none (see `account_candidates`).
    """
    pairs = segment_pairs(overlaps)
    candidates = {truth_id: iou for truth_id, iou in candidate_ious.items() if iou > 0.5}
    explained = explain_errors(pairs, prediction, matching)
    by_truth = {truth_id: (kind, pairs[truth_id, other].iou) for (truth_id, other), kind in explained.items()}
    by_prediction = {prediction_id: kind for (_, prediction_id), kind in explained.items()}

    classes: dict[int, ClassAccount] = defaultdict(ClassAccount)
    for match in matching.matches:
        in_band = pairs[match.truth_id, match.prediction_id].in_band
        classes[match.category_id] += _match(match.iou, in_band, candidates.get(match.truth_id, 0.0))
    for segment in matching.missed:
        kind, iou = by_truth.get(segment.id, ("missed", 0.0))
        classes[segment.category_id] += _miss(kind, iou, candidates.get(segment.id))
    for segment in matching.spurious:
        classes[segment.category_id] += _false_positive(by_prediction.get(segment.id, "spurious"))
    return PictureAccount(dict(classes))


_MISS = ClassQuality(fn=1)
_FALSE_POSITIVE = ClassQuality(fp=1)
_NOTHING = ClassQuality()


def _found(iou: float) -> ClassQuality:
    return ClassQuality(tp=1, iou_sum=iou)


def _match(iou: float, in_band: float, candidate_iou: float) -> ClassAccount:
    present, near = _found(iou), (1 - iou) * in_band
    lost = Losses(boundary=near, interior=1 - iou - near)
    return ClassAccount(present, lost, Repaired(present, _found(1.0), _found(max(iou, candidate_iou))))


def _miss(kind: str, iou: float, candidate_iou: float | None) -> ClassAccount:
    """Of a segment in a pair of that kind and IoU, or in none; with a raw instance, it was lost in merging."""
    repaired = Repaired(
        perfect_classes=_found(iou) if kind == "wrong_class" else _MISS,
        perfect_masks=_found(1.0) if kind == "localisation" else _MISS,
        perfect_merging=_MISS if candidate_iou is None else _found(candidate_iou),
    )
    return ClassAccount(_MISS, Losses(**{kind if candidate_iou is None else "merging": 0.5}), repaired)


def _false_positive(kind: str) -> ClassAccount:
    repaired = Repaired(
        perfect_classes=_NOTHING if kind == "wrong_class" else _FALSE_POSITIVE,
        perfect_masks=_NOTHING if kind == "localisation" else _FALSE_POSITIVE,
        perfect_merging=_FALSE_POSITIVE,
    )
    return ClassAccount(_FALSE_POSITIVE, Losses(**{kind: 0.5}), repaired)
