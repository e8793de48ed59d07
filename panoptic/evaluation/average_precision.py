"""Mask and box AP by COCO's rules, computed by hotcoco, whose tables are those of pycocotools to the last bit.

Images are numbered in the order in which pycocotools sorts them, because among equal scores that order decides; classes
by their labels, because hotcoco takes no negative ids; annotations from 1, because 0 stands for "no match". The numbers
are read from the tables, since summaries support no maximum of detections but 100. Ground truth may contain stuff, as
ours does: only things are scored. The area of a result, which makes it small, medium or large, is that of its box if it
lists one, otherwise of its mask, for mask and box AP alike, as when pycocotools reads a results file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from hotcoco import COCO, COCOeval
from numpy.typing import NDArray

from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, image_id_order, require_same_type
from panoptic.instances.ground_truth import InstanceGroundTruth, read_instance_ground_truth
from panoptic.instances.results import InstanceResult
from panoptic.instances.rle import check_size

MAX_DETS = (1, 10, 100)
_AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's 12 numbers by name, and AP by category id; fractions of 1, None without ground truth."""

    numbers: dict[str, float | None]
    per_class: dict[int, float | None]


@dataclass(frozen=True)
class InstanceScores:
    """AP of masks, `segm`, and of boxes, `bbox`. `ignored`: image ids with results but without ground truth."""

    by_iou_type: dict[str, AveragePrecision]
    ignored: tuple[ImageId, ...]


def check_max_dets(max_dets: Sequence[int]) -> None:
    """Raise `ValueError` unless `max_dets` are three increasing numbers."""
    if len(max_dets) != 3 or sorted({0, *max_dets}) != [0, *max_dets]:
        raise ValueError(f"max_dets is {list(max_dets)}; give three increasing numbers of detections, such as 1 10 100")


def average_precision(
    ground_truth: Path,
    results: Sequence[InstanceResult],
    categories: CategoryTable,
    max_dets: Sequence[int] = MAX_DETS,
    area_bounds: tuple[int, int] = (32**2, 96**2),
) -> InstanceScores:
    """Compute AP of masks (`segm`) and boxes (`bbox`) over the things of `categories`.

    `ground_truth` is a JSON in COCO's detection format. `max_dets`: how many results of an image and class count; AR is
    given for each of the three (AR1, AR10, AR100), the rest for the last. `area_bounds`, in pixels: areas up to the
    first are small, above the second large. Raises `DatasetError` for an issue in the file.
    """
    check_max_dets(max_dets)
    things = [category.id for category in categories.things]
    listed = read_instance_ground_truth(ground_truth, categories)
    if results:
        require_same_type([results[0].image_id], listed.sizes, results[0].where, str(ground_truth))
    counted = [result for result in results if result.image_id in listed.sizes]
    ignored = dict.fromkeys(result.image_id for result in results if result.image_id not in listed.sizes)
    for result in counted:
        check_size(result.mask, *listed.sizes[result.image_id], result.where)
    in_order = sorted(listed.sizes, key=image_id_order)
    numbers: Mapping[object, int] = {image_id: number for number, image_id in enumerate(in_order, start=1)}
    indexed = _index(listed, numbers, categories)
    found = _index_results(indexed, counted, numbers, categories)

    def evaluate(iou_type: Literal["segm", "bbox"]) -> AveragePrecision:
        small, large = area_bounds
        evaluation = COCOeval(indexed, found, iou_type)
        evaluation.params.max_dets = list(max_dets)
        evaluation.params.area_rng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        evaluation.params.area_rng_lbl = list(_AREAS)
        evaluation.evaluate()
        evaluation.accumulate()
        assert evaluation.eval is not None, "it has just been accumulated"
        return _numbers(evaluation.eval["precision"], evaluation.eval["recall"], things, max_dets)

    return InstanceScores({"segm": evaluate("segm"), "bbox": evaluate("bbox")}, tuple(ignored))


def _index(listed: InstanceGroundTruth, numbers: Mapping[object, int], categories: CategoryTable) -> COCO:
    images = [{"id": numbers[key], "height": height, "width": width} for key, (height, width) in listed.sizes.items()]
    labels: Mapping[object, int] = {category.id: label for label, category in enumerate(categories.things)}
    annotations = [
        {**entry, "image_id": numbers[entry["image_id"]], "category_id": labels[entry["category_id"]]}
        for entry in listed.annotations
    ]
    classes = [{"id": label, "name": category.name} for label, category in enumerate(categories.things)]
    return COCO({"images": images, "annotations": annotations, "categories": classes})


def _index_results(
    ground_truth: COCO, results: Sequence[InstanceResult], numbers: Mapping[object, int], categories: CategoryTable
) -> COCO:
    """Pass results as columns, which takes a quarter of the time of an object each; they are numbered from 1."""
    rows = [
        (numbers[result.image_id], *result.box_xywh, result.score, categories.label_of(result.category_id))
        for result in results
    ]
    masks: list[dict[str, object] | list[list[float]]] = [dict(result.mask) for result in results]
    found = ground_truth.load_res(np.array(rows, np.float64).reshape(-1, 7), segmentation=masks)
    found.update_anns(ids=np.arange(1, len(results) + 1), area=[result.area for result in results])
    return found


def _numbers(
    precision: NDArray[np.float64], recall: NDArray[np.float64], things: Sequence[int], max_dets: Sequence[int]
) -> AveragePrecision:
    """Average precision (thresholds, recalls, classes, areas, max_dets) and recall, without the axis of recalls."""
    by_area = list(enumerate(_AREAS))[1:]
    numbers = {
        "AP": _mean(precision[:, :, :, 0, -1]),
        "AP50": _mean(precision[0, :, :, 0, -1]),
        "AP75": _mean(precision[5, :, :, 0, -1]),
        **{f"AP{area[0]}": _mean(precision[:, :, :, number, -1]) for number, area in by_area},
        **{f"AR{count}": _mean(recall[:, :, 0, step]) for step, count in enumerate(max_dets)},
        **{f"AR{area[0]}": _mean(recall[:, :, number, -1]) for number, area in by_area},
    }
    return AveragePrecision(numbers, {thing: _mean(precision[:, :, k, 0, -1]) for k, thing in enumerate(things)})


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of the known values; -1 stands for a class without ground truth."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
