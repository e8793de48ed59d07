"""torchmetrics, which reads pairs of class and instance for every pixel instead of files."""

from collections import Counter
from typing import TYPE_CHECKING

from conformance.case import Case, Mean, Quality, Scores, Side
from conformance.compare import NotSupported
from conformance.files import Files
from conformance.runners.harness import Runner, main

if TYPE_CHECKING:
    from torch import Tensor

_VOID = -1


def score(case: Case, files: Files) -> Scores:
    """PQ; averages are of all classes only."""
    from torchmetrics.detection import PanopticQuality

    things = {category.id for category in case.categories if category.is_thing}
    stuff = {category.id for category in case.categories} - things
    predictions = [image.prediction for image in case.images if image.prediction is not None]
    if len(predictions) < len(case.images):
        raise NotSupported("has no notion of an image without prediction")
    _check([side for image in case.images for side in (image.ground_truth, image.prediction) if side], stuff)
    void = any(0 in row for side in predictions for row in side.ids)
    by_class, average = (
        PanopticQuality(
            things, stuff, allow_unknown_preds_category=void, return_sq_and_rq=True, return_per_class=per_class
        )
        for per_class in (True, False)
    )
    for image, prediction in zip(case.images, predictions, strict=True):
        for metric in (by_class, average):
            metric.update(_pixels(prediction), _pixels(image.ground_truth))
    rows: list[list[float]] = by_class.compute().tolist()
    pq, sq, rq = average.compute().tolist()
    classes = {}
    for key, row in by_class.cat_id_to_continuous_id.items():
        counts = (by_class.true_positives, by_class.false_positives, by_class.false_negatives)
        tp, fp, fn = (int(count[row]) for count in counts)
        if tp + fp + fn > 0:
            classes[key] = Quality(tp, fp, fn, float(by_class.iou_sum[row]), *rows[row])
    return Scores(classes, {"all": None if pq != pq else Mean(pq, sq, rq)})


def _check(sides: list[Side], stuff: set[int]) -> None:
    for side in sides:
        drawn = {segment_id for row in side.ids for segment_id in row} - {0}
        if drawn != {segment.id for segment in side.segments}:
            raise NotSupported("has no list of segments")
        if any(segment.is_crowd for segment in side.segments):
            raise NotSupported("has no crowd regions")
        classes = Counter(segment.category_id for segment in side.segments)
        if any(classes[key] > 1 for key in stuff):
            raise NotSupported("joins the segments of a stuff class")


def _pixels(side: Side) -> "Tensor":
    import torch

    classes = {segment.id: segment.category_id for segment in side.segments} | {0: _VOID}
    return torch.tensor([[[[classes[segment_id], segment_id] for segment_id in row] for row in side.ids]])


RUNNER = Runner("torchmetrics", ("torchmetrics", "torch"), {"pq": score}, lacks="has no boundary PQ")

if __name__ == "__main__":
    main(RUNNER)
