"""Error breakdown: what each error type costs in PQ, and what PQ would be without it.

The idea and most names are those of TIDE (Bolya et al., ECCV 2020), carried over from AP to PQ. With
D = tp + fp / 2 + fn / 2, a class loses 1 - PQ = (sum of 1 - IoU over the matches + fn / 2 + fp / 2) / D. Every false
negative, every false positive and every disagreeing pixel of a match is attributed to one type, so that the types of a
class add up to its PQ loss:

- `merging`: a false negative thing of which the network had an instance (IoU above 0.5, same class) that merging
  dropped. Only things have such raw instances: stuff is never counted here.
- `classification`: a false negative and an unmatched prediction of another class with IoU above 0.5; the false negative
  counts in its class, the false positive in the predicted one.
- `localization`: a false negative and an unmatched prediction of one class with IoU from 0.1 to 0.5, paired by
  decreasing IoU.
- `missed`, `background`: all other false negatives and false positives.
- `boundary`, `interior`: what the matches lack to IoU 1, split by the disagreeing pixels into those in the band of the
  segment that they belong to, and those deeper inside it. Without bands (distance 0) all of it is `interior`.

A false negative has the first type that fits. The oracles do not depend on that order: a thing that merging dropped
and for which another class was predicted would be corrected by perfect classes, too. IoU is that of PQ: void of the
ground truth is left out.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from panoptic.evaluation.error_pairs import ErrorPairs
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.evaluation.scores import ClassQuality, Counts, class_groups, mean_of_known
from panoptic.format.categories import CategoryTable


@dataclass(frozen=True, slots=True)
class PqLoss(Counts):
    """The loss by error type in the sum of IoUs of a class; divided by D, the types add up to 1 - PQ."""

    merging: float = 0.0
    classification: float = 0.0
    localization: float = 0.0
    missed: float = 0.0
    background: float = 0.0
    boundary: float = 0.0
    interior: float = 0.0


@dataclass(frozen=True, slots=True)
class Oracle(Counts):
    """The counts that a class would have if one thing alone were perfect.

    `perfect_classes`: each pair of `classification` is a match of the true class with its IoU, without false positive.
    `perfect_masks`: every match and every pair of `localization` is a match with IoU 1.
    `perfect_merging`: a ground truth thing with a raw instance of IoU above 0.5 is a match with that IoU or its present
    one, whichever is better. False positives are still in: those of things would be gone (`error_breakdown_table`).
    """

    perfect_classes: ClassQuality = field(default_factory=ClassQuality)
    perfect_masks: ClassQuality = field(default_factory=ClassQuality)
    perfect_merging: ClassQuality = field(default_factory=ClassQuality)


ERROR_TYPES = PqLoss.names()
ORACLES = Oracle.names()


@dataclass(frozen=True, slots=True)
class ClassBreakdown(Counts):
    """The error breakdown of one class, in an image or a dataset."""

    present: ClassQuality = field(default_factory=ClassQuality)
    pq_loss: PqLoss = field(default_factory=PqLoss)
    oracle: Oracle = field(default_factory=Oracle)


@dataclass(frozen=True, slots=True)
class ErrorBreakdown:
    """The breakdown of an image, or of several added up, by category id; small enough to send between processes."""

    classes: Mapping[int, ClassBreakdown] = field(default_factory=dict)

    def __add__(self, other: "ErrorBreakdown") -> "ErrorBreakdown":
        added = {key: self.classes.get(key, ClassBreakdown()) + found for key, found in other.classes.items()}
        return ErrorBreakdown({**self.classes, **added})


def breakdown_image(matching: Matching, errors: ErrorPairs) -> ErrorBreakdown:
    """Attribute the PQ loss of one image, given its matching by whole masks."""
    by_gt = {gt_id: (error, errors.pairs[gt_id, other].iou) for (gt_id, other), error in errors.explained.items()}
    by_prediction = {prediction_id: error for (_, prediction_id), error in errors.explained.items()}
    classes: dict[int, ClassBreakdown] = defaultdict(ClassBreakdown)
    for match in matching.matches:
        in_band = errors.pairs[match.gt_id, match.prediction_id].in_band
        classes[match.category_id] += _match(match.iou, in_band, errors.merging.get(match.gt_id, 0.0))
    for segment in matching.false_negatives:
        error, iou = by_gt.get(segment.id, ("missed", 0.0))
        classes[segment.category_id] += _false_negative(error, iou, errors.merging.get(segment.id))
    for segment in matching.false_positives:
        classes[segment.category_id] += _false_positive(by_prediction.get(segment.id, "background"))
    return ErrorBreakdown(dict(classes))


_MISS = ClassQuality(fn=1)
_FALSE_POSITIVE = ClassQuality(fp=1)
_NOTHING = ClassQuality()


def _found(iou: float) -> ClassQuality:
    return ClassQuality(tp=1, iou_sum=iou)


def _match(iou: float, in_band: float, candidate_iou: float) -> ClassBreakdown:
    present, near = _found(iou), (1 - iou) * in_band
    pq_loss = PqLoss(boundary=near, interior=1 - iou - near)
    return ClassBreakdown(present, pq_loss, Oracle(present, _found(1.0), _found(max(iou, candidate_iou))))


def _false_negative(error: str, iou: float, candidate_iou: float | None) -> ClassBreakdown:
    """One false negative, by the error that its pair explains; with a raw instance, merging dropped it."""
    oracle = Oracle(
        perfect_classes=_found(iou) if error == "classification" else _MISS,
        perfect_masks=_found(1.0) if error == "localization" else _MISS,
        perfect_merging=_MISS if candidate_iou is None else _found(candidate_iou),
    )
    return ClassBreakdown(_MISS, PqLoss(**{error if candidate_iou is None else "merging": 0.5}), oracle)


def _false_positive(error: str) -> ClassBreakdown:
    oracle = Oracle(
        perfect_classes=_NOTHING if error == "classification" else _FALSE_POSITIVE,
        perfect_masks=_NOTHING if error == "localization" else _FALSE_POSITIVE,
        perfect_merging=_FALSE_POSITIVE,
    )
    return ClassBreakdown(_FALSE_POSITIVE, PqLoss(**{error: 0.5}), oracle)


@dataclass(frozen=True)
class BreakdownRow:
    """One class or group; fractions of 1, None where the class (or every class of the group) does not occur.

    `pq_loss` by error type adds up to 1 - `pq`; `oracle` is the PQ by what is perfect. Without raw instances nothing is
    known of merging: then `merging` and `perfect_merging` are None too, and its loss is in the other types.
    """

    pq: float | None
    pq_loss: Mapping[str, float | None]
    oracle: Mapping[str, float | None]

    def to_json(self) -> dict[str, object]:
        """`pq`, `pq_loss` and `oracle`."""
        return asdict(self)


@dataclass(frozen=True)
class BreakdownTable:
    """`groups` are `all`, `things` and `stuff`, averages over their classes that occur; `classes` by category id."""

    categories: CategoryTable
    groups: Mapping[str, BreakdownRow]
    classes: Mapping[int, BreakdownRow]

    def to_json(self) -> dict[str, object]:
        """`{"all": {"pq": .., "pq_loss": {..}, "oracle": {..}}, "things": .., "stuff": .., "classes": {"1": ..}}`."""
        classes = {
            str(category.id): {"name": category.name} | self.classes[category.id].to_json()
            for category in self.categories
        }
        return {name: row.to_json() for name, row in self.groups.items()} | {"classes": classes}

    def pq_loss_csv(self) -> bytes:
        """The cost of each error type: a row for each, a column for each group and class; None is left empty."""
        return self._csv("error", lambda row: row.pq_loss)

    def oracle_csv(self) -> bytes:
        """PQ by what is perfect, with `no_oracle` first; a column for each group and class."""
        return self._csv("oracle", lambda row: {"no_oracle": row.pq, **row.oracle})

    def _csv(self, title: str, values: Callable[[BreakdownRow], Mapping[str, float | None]]) -> bytes:
        columns = {name: values(row) for name, row in self.groups.items()}
        names = self.categories.unique_names(taken=columns)
        columns |= {name: values(self.classes[category_id]) for category_id, name in names.items()}
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([title, *columns])
        for name in columns["all"]:
            writer.writerow([name, *(column[name] for column in columns.values())])
        return text.getvalue().encode()


def error_breakdown_table(
    breakdown: ErrorBreakdown, categories: CategoryTable, with_instances: bool = True
) -> BreakdownTable:
    """The table of all images added up; `with_instances` says whether raw instances were there to judge merging.

    An oracle of a group is averaged over the classes that then occur: one that had false positives only drops out, and
    its PQ of 0 with it.
    """
    classes = {
        category.id: _row(breakdown.classes.get(category.id, ClassBreakdown()), category.is_thing, with_instances)
        for category in categories
    }
    rows = list(classes.values())
    groups = {name: _mean_row(rows[members]) for name, members in class_groups(categories).items()}
    return BreakdownTable(categories, groups, classes)


def _row(breakdown: ClassBreakdown, is_thing: bool, with_instances: bool) -> BreakdownRow:
    present, counts = breakdown.present, breakdown.oracle
    if is_thing:  # perfect merging keeps only those things that match
        counts = replace(counts, perfect_merging=replace(counts.perfect_merging, fp=0))
    pq_loss = {name: getattr(breakdown.pq_loss, name) / present.size if present.size else None for name in ERROR_TYPES}
    oracle = {name: getattr(counts, name).pq for name in ORACLES}
    if not with_instances:
        pq_loss["merging"] = oracle["perfect_merging"] = None
    return BreakdownRow(present.pq, pq_loss, oracle)


def _mean_row(rows: Sequence[BreakdownRow]) -> BreakdownRow:
    return BreakdownRow(
        mean_of_known([row.pq for row in rows]),
        {name: mean_of_known([row.pq_loss[name] for row in rows]) for name in ERROR_TYPES},
        {name: mean_of_known([row.oracle[name] for row in rows]) for name in ORACLES},
    )
