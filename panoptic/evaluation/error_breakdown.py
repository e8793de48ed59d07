"""Where the PQ went: what each kind of error costs, and what PQ would be without it.

With D = tp + fp / 2 + fn / 2, a class loses 1 - PQ = (sum of 1 - IoU over the matches + fn / 2 + fp / 2) / D. Every
miss, every false positive and every disagreeing pixel of a match is laid to one kind, so that the kinds of a class
add up to what it lost:

- `merging`: a missed true thing of which the network had an instance (IoU above 0.5, same class) that the merging lost.
  Only things have such raw instances: stuff is never counted as lost in merging.
- `wrong_class`: a missed true segment and an unmatched predicted one of another class with IoU above 0.5: the miss in
  the true class, the false positive in the predicted one.
- `localization`: missed true and unmatched predicted segments of one class with IoU from 0.1 to 0.5, paired by falling
  IoU.
- `missed`, `spurious`: all other misses and false positives.
- `boundary`, `interior`: what the matches lack to IoU 1, by the disagreeing pixels: those in the band of the segment
  that they belong to, and those deeper inside it. Without bands (distance 0) all of it is `interior`.

A miss is of the first kind that fits. What a repair mends does not depend on that order: a thing that was lost in
merging, and for which another class was predicted, would be mended by perfect classes too. IoU is that of PQ: true void
is left out.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from panoptic.evaluation.error_pairs import explain_errors, segment_pairs
from panoptic.evaluation.overlaps import Overlaps
from panoptic.evaluation.panoptic_quality import ClassQuality, Matching
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel


@dataclass(frozen=True, slots=True)
class Losses:
    """What each kind of error takes from the sum of IoUs of a class: divided by D, shares of 1 - PQ."""

    merging: float = 0.0
    wrong_class: float = 0.0
    localization: float = 0.0
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
    `perfect_masks`: every match and every pair of `localization` is a match with IoU 1.
    `perfect_merging`: a true thing with a raw instance of IoU above 0.5 is a match with that IoU or its present one,
    the better of the two. False positives are still in: those of things would be gone (see `error_breakdown_table`).
    """

    perfect_classes: ClassQuality = field(default_factory=ClassQuality)
    perfect_masks: ClassQuality = field(default_factory=ClassQuality)
    perfect_merging: ClassQuality = field(default_factory=ClassQuality)

    def __add__(self, other: "Repaired") -> "Repaired":
        return Repaired(*(getattr(self, name) + getattr(other, name) for name in REPAIRS))


KINDS = tuple(kind.name for kind in fields(Losses))
REPAIRS = tuple(repair.name for repair in fields(Repaired))


@dataclass(frozen=True, slots=True)
class ClassBreakdown:
    """The account of one class, in an image or a dataset."""

    present: ClassQuality = field(default_factory=ClassQuality)
    lost: Losses = field(default_factory=Losses)
    repaired: Repaired = field(default_factory=Repaired)

    def __add__(self, other: "ClassBreakdown") -> "ClassBreakdown":
        return ClassBreakdown(self.present + other.present, self.lost + other.lost, self.repaired + other.repaired)


@dataclass(frozen=True, slots=True)
class ImageBreakdown:
    """The account of an image, or of several added up, by category id; small enough to send between processes."""

    classes: Mapping[int, ClassBreakdown] = field(default_factory=dict)

    def __add__(self, other: "ImageBreakdown") -> "ImageBreakdown":
        added = {
            key: self.classes.get(key, ClassBreakdown()) + error_breakdown
            for key, error_breakdown in other.classes.items()
        }
        return ImageBreakdown({**self.classes, **added})


def breakdown_image(
    overlaps: Overlaps,
    prediction: Sequence[SegmentLabel],
    matching: Matching,
    candidate_ious: Mapping[int, float],
) -> ImageBreakdown:
    """Lay everything that an image lost to its kind.

    Args:
        overlaps: of the image, with bands if `boundary` is wanted.
        prediction: the predicted segments.
        matching: of these and the true ones, by whole masks.
        candidate_ious: by the id of a true thing, the best IoU of a raw instance of its class; empty where there are
            none (see `breakdown_candidates`).
    """
    pairs = segment_pairs(overlaps)
    candidates = {gt_id: iou for gt_id, iou in candidate_ious.items() if iou > 0.5}
    explained = explain_errors(pairs, prediction, matching)
    by_gt = {gt_id: (kind, pairs[gt_id, other].iou) for (gt_id, other), kind in explained.items()}
    by_prediction = {prediction_id: kind for (_, prediction_id), kind in explained.items()}

    classes: dict[int, ClassBreakdown] = defaultdict(ClassBreakdown)
    for match in matching.matches:
        in_band = pairs[match.gt_id, match.prediction_id].in_band
        classes[match.category_id] += _match(match.iou, in_band, candidates.get(match.gt_id, 0.0))
    for segment in matching.missed:
        kind, iou = by_gt.get(segment.id, ("missed", 0.0))
        classes[segment.category_id] += _miss(kind, iou, candidates.get(segment.id))
    for segment in matching.spurious:
        classes[segment.category_id] += _false_positive(by_prediction.get(segment.id, "spurious"))
    return ImageBreakdown(dict(classes))


_MISS = ClassQuality(fn=1)
_FALSE_POSITIVE = ClassQuality(fp=1)
_NOTHING = ClassQuality()


def _found(iou: float) -> ClassQuality:
    return ClassQuality(tp=1, iou_sum=iou)


def _match(iou: float, in_band: float, candidate_iou: float) -> ClassBreakdown:
    present, near = _found(iou), (1 - iou) * in_band
    lost = Losses(boundary=near, interior=1 - iou - near)
    return ClassBreakdown(present, lost, Repaired(present, _found(1.0), _found(max(iou, candidate_iou))))


def _miss(kind: str, iou: float, candidate_iou: float | None) -> ClassBreakdown:
    """Of a segment in a pair of that kind and IoU, or in none; with a raw instance, it was lost in merging."""
    repaired = Repaired(
        perfect_classes=_found(iou) if kind == "wrong_class" else _MISS,
        perfect_masks=_found(1.0) if kind == "localization" else _MISS,
        perfect_merging=_MISS if candidate_iou is None else _found(candidate_iou),
    )
    return ClassBreakdown(_MISS, Losses(**{kind if candidate_iou is None else "merging": 0.5}), repaired)


def _false_positive(kind: str) -> ClassBreakdown:
    repaired = Repaired(
        perfect_classes=_NOTHING if kind == "wrong_class" else _FALSE_POSITIVE,
        perfect_masks=_NOTHING if kind == "localization" else _FALSE_POSITIVE,
        perfect_merging=_FALSE_POSITIVE,
    )
    return ClassBreakdown(_FALSE_POSITIVE, Losses(**{kind: 0.5}), repaired)


@dataclass(frozen=True)
class BreakdownRow:
    """One class or group; fractions of 1, None where the class (or every class of the group) does not occur.

    `lost` by kind adds up to 1 - `pq`; `repaired` is the PQ by what is repaired. Without raw instances nothing is
    known of merging: then `merging` and `perfect_merging` are None too, and what it lost is in the other kinds.
    """

    pq: float | None
    lost: Mapping[str, float | None]
    repaired: Mapping[str, float | None]

    def to_json(self) -> dict[str, object]:
        return {"pq": self.pq, "lost": dict(self.lost), "repaired": dict(self.repaired)}


@dataclass(frozen=True)
class BreakdownTable:
    """`groups` are `all`, `things` and `stuff`, averages over their classes that occur; `classes` by category id."""

    categories: CategoryTable
    groups: Mapping[str, BreakdownRow]
    classes: Mapping[int, BreakdownRow]

    def to_json(self) -> dict[str, object]:
        """`{"all": {"pq": .., "lost": {..}, "repaired": {..}}, "things": .., "stuff": .., "classes": {"1": ..}}`."""
        names = {category.id: category.name for category in self.categories}
        classes = {str(key): {"name": names[key]} | row.to_json() for key, row in self.classes.items()}
        return {name: row.to_json() for name, row in self.groups.items()} | {"classes": classes}

    def pq_loss_csv(self) -> bytes:
        """What each kind of error costs: a row for each, a column for each group and class; None is left empty."""
        return self._csv("kind", lambda row: row.lost)

    def oracle_csv(self) -> bytes:
        """PQ by what is repaired, `nothing` first: rows and columns likewise."""
        return self._csv("repaired", lambda row: {"nothing": row.pq, **row.repaired})

    def _csv(self, title: str, values: Callable[[BreakdownRow], Mapping[str, float | None]]) -> bytes:
        names = {category.id: category.name for category in self.categories}
        columns = {name: values(row) for name, row in self.groups.items()}
        columns |= {names[category_id]: values(row) for category_id, row in self.classes.items()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([title, *columns])
        for kind in columns["all"]:
            writer.writerow([kind, *(column[kind] for column in columns.values())])
        return text.getvalue().encode()


def error_breakdown_table(
    error_breakdown: ImageBreakdown, categories: CategoryTable, with_instances: bool = True
) -> BreakdownTable:
    """The table of all images added up; `with_instances` says whether raw instances were there to judge merging.

    A repaired group is averaged over the classes that then occur: one that had false positives only drops out, and
    with it its PQ of 0.
    """
    breakdowns = {category.id: error_breakdown.classes.get(category.id, ClassBreakdown()) for category in categories}
    things = {category.id for category in categories.things}
    classes = {key: _row(class_breakdown, key in things, with_instances) for key, class_breakdown in breakdowns.items()}
    groups = {
        "all": _mean_row(list(classes.values())),
        "things": _mean_row([row for key, row in classes.items() if key in things]),
        "stuff": _mean_row([row for key, row in classes.items() if key not in things]),
    }
    return BreakdownTable(categories, groups, classes)


def _row(error_breakdown: ClassBreakdown, is_thing: bool, with_instances: bool) -> BreakdownRow:
    present, counts = error_breakdown.present, error_breakdown.repaired
    divisor = present.tp + present.fp / 2 + present.fn / 2
    lost = {kind: getattr(error_breakdown.lost, kind) / divisor if present.occurs else None for kind in KINDS}
    # A perfect merging keeps of the things only what matches.
    merging = replace(counts.perfect_merging, fp=0) if is_thing else counts.perfect_merging
    repaired = {name: getattr(counts, name).pq for name in REPAIRS} | {"perfect_merging": merging.pq}
    if not with_instances:
        lost["merging"] = repaired["perfect_merging"] = None
    return BreakdownRow(present.pq, lost, repaired)


def _mean_row(rows: Sequence[BreakdownRow]) -> BreakdownRow:
    return BreakdownRow(
        _mean([row.pq for row in rows]),
        {kind: _mean([row.lost[kind] for row in rows]) for kind in KINDS},
        {name: _mean([row.repaired[name] for row in rows]) for name in REPAIRS},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
