"""What panopticapi and the tools derived from it have in common: sums by class, and averages of them."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from conformance.case import GROUPS, Case, Mean, Quality, Scores
from conformance.files import Files

Annotation = dict[str, Any]
Pair = tuple[Annotation, Annotation]


class ClassSums(Protocol):
    """Their `PQStatCat`."""

    iou: float
    tp: int
    fp: int
    fn: int


class PQStat(Protocol):
    """Their `PQStat`."""

    @property
    def pq_per_cat(self) -> Mapping[int, ClassSums]: ...

    def pq_average(
        self, categories: Mapping[int, Annotation], isthing: bool | None
    ) -> tuple[dict[str, float], dict[int, dict[str, float]]]: ...


def score_pairs(
    case: Case,
    files: Files,
    count: Callable[[list[Pair], Mapping[int, Annotation]], PQStat],
    whole: Callable[[str, str, str, str], object],
) -> Scores:
    """Score by the tool's function for some images; `whole` is its function for all.

    The latter starts processes and returns no counts, so it runs only where it stops before: without predictions.
    """
    if any(image.prediction is None for image in case.images):
        whole(*map(str, (files.gt_json, files.prediction_json, files.gt_folder, files.prediction_folder)))
        raise AssertionError("a missing prediction went unnoticed")
    ground_truth = json.loads(files.gt_json.read_text())
    predictions = json.loads(files.prediction_json.read_text())["annotations"]
    by_image = {entry["image_id"]: entry for entry in predictions}
    pairs = [(entry, by_image[entry["image_id"]]) for entry in ground_truth["annotations"]]
    categories = {entry["id"]: entry for entry in ground_truth["categories"]}
    return _scores(case, count(pairs, categories), categories)


def _scores(case: Case, stat: PQStat, categories: Mapping[int, Annotation]) -> Scores:
    classes = {}
    for key, entry in categories.items():
        found = stat.pq_per_cat[key]
        if found.tp + found.fp + found.fn > 0:
            values = _values(stat.pq_average({key: entry}, None)[0])
            classes[key] = Quality(found.tp, found.fp, found.fn, float(found.iou), *values)
    means = dict(zip(GROUPS, (_mean(case, stat, categories, group) for group in (None, True, False)), strict=True))
    return Scores(classes, means)


def _mean(case: Case, stat: PQStat, categories: Mapping[int, Annotation], isthing: bool | None) -> Mean | None:
    try:
        return Mean(*_values(stat.pq_average(categories, isthing)[0]))
    except ZeroDivisionError:
        if case.topic == "groups":
            raise
        return None  # other cases are about other rules


def _values(row: Mapping[str, float]) -> tuple[float, float, float]:
    return float(row["pq"]), float(row["sq"]), float(row["rq"])
