"""Mask and box AP by COCO's rules, computed by pycocotools, with its traps taken care of.

It takes an annotation with id 0 for "no match", so ids are given anew from 1. It takes the area of a result from its
box if it has one, also for masks, so either gets only what it is about. Its summary prints, and knows no other maximum
of detections than 100, so the numbers are read from its tables. What it prints is dropped.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic.categories import CategoryTable
from panoptic.errors import DatasetError
from panoptic.instance_results import InstanceResult
from panoptic.json_fields import read_json

if TYPE_CHECKING:
    from pycocotools.coco import _Dataset

Kind = Literal["segm", "bbox"]
AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class AveragePrecision:
    """The 12 numbers of COCO by name, and AP by category id; fractions of 1, None where nothing could be found."""

    numbers: dict[str, float | None]
    per_class: dict[int, float | None]


def average_precision(
    ground_truth: Path,
    results: Sequence[InstanceResult],
    categories: CategoryTable,
    max_dets: int = 100,
    area_bounds: tuple[int, int] = (32**2, 96**2),
) -> dict[str, AveragePrecision]:
    """AP of masks (`segm`) and boxes (`bbox`) over the things of `categories`.

    `ground_truth` is a JSON in COCO's detection format; what it lists of stuff is left out. At most `max_dets` results
    of a picture and class count; areas, in pixels, up to the first bound are small, above the second large. Results for
    pictures that are not in the ground truth are left out. Raises `DatasetError` for a fault in the file.
    """
    if max_dets <= 10:
        raise ValueError(f"at most {max_dets} detections; give more than 10, the step before it")
    things = [category.id for category in categories.things]
    truth = _ground_truth(ground_truth, frozenset(things))
    known = frozenset(truth.getImgIds())
    counted = [result for result in results if result.image_id in known]
    _check_sizes(truth, counted)
    return {kind: _evaluate(truth, counted, things, kind, max_dets, area_bounds) for kind in get_args(Kind)}


def _ground_truth(path: Path, things: frozenset[int]) -> COCO:
    document = read_json(path)
    images = [
        {"id": image.integer("id"), "height": image.integer("height"), "width": image.integer("width")}
        for image in document.objects("images")
    ]
    known = {image["id"] for image in images}
    annotations: list[dict[str, object]] = []
    for entry in document.objects("annotations"):
        if entry.integer("category_id") not in things:
            continue
        if entry.integer("image_id") not in known:
            raise DatasetError(f"{entry.where}: image id {entry.integer('image_id')} is not in 'images'; add the image")
        fields = {key: entry.values.get(key) for key in ("image_id", "category_id", "segmentation", "bbox", "area")}
        missing = [key for key, value in fields.items() if value is None]
        if missing:
            raise DatasetError(f"{entry.where}: the field '{missing[0]}' is missing; add it")
        crowd = entry.flag("iscrowd") if "iscrowd" in entry.values else False
        annotations.append({**fields, "id": len(annotations) + 1, "iscrowd": int(crowd)})
    return _indexed({"images": images, "annotations": annotations, "categories": [{"id": thing} for thing in things]})


def _check_sizes(truth: COCO, results: Sequence[InstanceResult]) -> None:
    """pycocotools compares masks of different sizes without a word."""
    sizes = {key: [image["height"], image["width"]] for key, image in truth.imgs.items()}
    for result in results:
        size, expected = result.mask["size"], sizes[result.image_id]
        if size != expected:
            raise DatasetError(
                f"image id {result.image_id}: the mask of a result is {size[0]} x {size[1]} (height x width), but the "
                f"ground truth is {expected[0]} x {expected[1]}; write the result at that size"
            )


def _indexed(dataset: Mapping[str, object]) -> COCO:
    coco = COCO()
    coco.dataset = cast("_Dataset", dataset)
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _evaluate(
    truth: COCO,
    results: Sequence[InstanceResult],
    things: Sequence[int],
    kind: Kind,
    max_dets: int,
    area_bounds: tuple[int, int],
) -> AveragePrecision:
    annotations = [
        {
            "id": position + 1,
            "image_id": result.image_id,
            "category_id": result.category_id,
            "score": result.score,
            "iscrowd": 0,
            **(
                {"segmentation": result.mask, "area": result.mask_area}
                if kind == "segm"
                else {"bbox": list(result.box_xywh), "area": result.box_xywh[2] * result.box_xywh[3]}
            ),
        }
        for position, result in enumerate(results)
    ]
    found = _indexed({"images": truth.dataset["images"], "annotations": annotations, "categories": []})
    small, large = area_bounds
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, found, kind)
        evaluation.params.catIds = list(things)
        evaluation.params.maxDets = [1, 10, max_dets]
        evaluation.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        evaluation.params.areaRngLbl = list(AREAS)
        evaluation.evaluate()
        evaluation.accumulate()
    return _numbers(evaluation.eval["precision"], evaluation.eval["recall"], things, max_dets)


def _numbers(
    precision: NDArray[np.float64], recall: NDArray[np.float64], things: Sequence[int], max_dets: int
) -> AveragePrecision:
    """From (thresholds, recalls, classes, areas, max_dets) and (thresholds, classes, areas, max_dets)."""
    numbers = {
        "AP": _mean(precision[:, :, :, 0, -1]),
        "AP50": _mean(precision[0, :, :, 0, -1]),
        "AP75": _mean(precision[5, :, :, 0, -1]),
        **{f"AP{area[0]}": _mean(precision[:, :, :, number, -1]) for number, area in enumerate(AREAS) if number},
        **{f"AR{count}": _mean(recall[:, :, 0, step]) for step, count in enumerate((1, 10, max_dets))},
        **{f"AR{area[0]}": _mean(recall[:, :, number, -1]) for number, area in enumerate(AREAS) if number},
    }
    return AveragePrecision(numbers, {thing: _mean(precision[:, :, k, 0, -1]) for k, thing in enumerate(things)})


def _mean(values: NDArray[np.float64]) -> float | None:
    """-1 stands for a class without ground truth."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
