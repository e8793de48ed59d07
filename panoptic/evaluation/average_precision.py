"""Mask and box AP by COCO's rules, computed by pycocotools while avoiding its traps.

pycocotools takes an annotation with id 0 for "no match", so ids are renumbered from 1; so are images, in the order in
which it sorts them, because it turns ids of several types into text. Its summary is only printed and supports no
maximum of detections but 100, so the numbers are read from its tables. It fails on an empty list of results, silently
compares masks of different sizes, and prints its progress, which is discarded. Ground truth may
contain stuff, as ours does: only things are scored. The area of a result, which makes it small, medium or large, is
that of its box if it lists one, otherwise of its mask, for mask and box AP alike, as when pycocotools reads a results
file.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, image_id_order, require_same_type
from panoptic.instances.ground_truth import InstanceGroundTruth, read_instance_ground_truth
from panoptic.instances.results import InstanceResult
from panoptic.instances.rle import check_size

if TYPE_CHECKING:
    from pycocotools.coco import _Dataset

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
    indexed = _indexed(listed, things)
    found = _indexed(replace(listed, annotations=list(_annotations(counted))), things)

    def evaluate(iou_type: Literal["segm", "bbox"]) -> AveragePrecision:
        small, large = area_bounds
        with redirect_stdout(io.StringIO()):
            evaluation = COCOeval(indexed, found, iou_type)
            evaluation.params.catIds = things
            evaluation.params.maxDets = list(max_dets)
            evaluation.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
            evaluation.params.areaRngLbl = list(_AREAS)
            evaluation.evaluate()
            evaluation.accumulate()
        return _numbers(evaluation.eval["precision"], evaluation.eval["recall"], things, max_dets)

    return InstanceScores({"segm": evaluate("segm"), "bbox": evaluate("bbox")}, tuple(ignored))


def _annotations(results: Sequence[InstanceResult]) -> Iterator[dict[str, object]]:
    for position, result in enumerate(results):
        yield {
            "id": position + 1,
            "image_id": result.image_id,
            "category_id": result.category_id,
            "score": result.score,
            "segmentation": result.mask,
            "bbox": list(result.box_xywh),
            "area": result.area,
            "iscrowd": 0,
        }


def _indexed(listed: InstanceGroundTruth, things: Sequence[int]) -> COCO:
    numbers: dict[object, int] = {}
    images = []
    for number, image_id in enumerate(sorted(listed.sizes, key=image_id_order), start=1):
        height, width = listed.sizes[image_id]
        numbers[image_id] = number
        images.append({"id": number, "height": height, "width": width})
    dataset = {
        "images": images,
        "annotations": [{**entry, "image_id": numbers[entry["image_id"]]} for entry in listed.annotations],
        "categories": [{"id": thing} for thing in things],
    }
    coco = COCO()
    coco.dataset = cast("_Dataset", dataset)
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


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
