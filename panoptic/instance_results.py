"""Predicted instances in COCO's results format: a list of masks with classes and scores, checked as it is read."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pycocotools import mask as coco_mask

from panoptic.categories import CategoryTable
from panoptic.errors import DatasetError, Faults
from panoptic.json_fields import JsonObject

if TYPE_CHECKING:
    from pycocotools import _EncodedRLE as RunLengths


@dataclass(frozen=True)
class InstanceResult:
    """One instance. `mask` is COCO's compressed run-length code of an (H,W) mask."""

    image_id: int
    category_id: int
    score: float
    mask: "RunLengths"
    listed_box: tuple[float, float, float, float] | None = None

    @cached_property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """The box that was predicted with the mask, else the mask's own."""
        return self.listed_box or cast("tuple[float, float, float, float]", tuple(coco_mask.toBbox(self.mask).tolist()))

    @cached_property
    def mask_area(self) -> int:
        return int(coco_mask.area(self.mask))


def read_instance_results(path: Path, categories: CategoryTable) -> list[InstanceResult]:
    """Read a results file. Raises `DatasetError` with every fault found: what is malformed, unknown, or not finite."""
    try:
        entries = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; check the path") from None
    except ValueError as error:
        raise DatasetError(f"{path}: not valid JSON ({error}); write the file again") from None
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: expected a list of results, found a {type(entries).__name__}; give COCO's results")
    faults = Faults()
    results = []
    for entry in JsonObject({"results": entries}, str(path)).objects("results"):
        with faults.collected():
            results.append(_result(entry, categories))
    faults.raise_if_any(str(path))
    return results


def by_image(results: Iterable[InstanceResult]) -> dict[int, list[InstanceResult]]:
    """The results of each picture by its id."""
    grouped: dict[int, list[InstanceResult]] = defaultdict(list)
    for result in results:
        grouped[result.image_id].append(result)
    return dict(grouped)


def _result(entry: JsonObject, categories: CategoryTable) -> InstanceResult:
    category_id = entry.integer("category_id")
    if category_id not in categories or not categories.by_id(category_id).is_thing:
        raise DatasetError(
            f"{entry.where}: category {category_id} is no thing of the ground truth; correct or remove it"
        )
    score = entry.values.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not isfinite(score):
        raise DatasetError(f"{entry.where}: 'score' should be a finite number, found {score!r}; correct it")
    return InstanceResult(entry.integer("image_id"), category_id, float(score), _mask(entry), _box(entry))


def _mask(entry: JsonObject) -> "RunLengths":
    code = entry.child("segmentation")
    size, counts = code.integers("size"), code.text("counts")
    if len(size) != 2 or min(size) < 1:
        raise DatasetError(f"{code.where}: 'size' should be height and width, found {size}; correct it")
    return {"size": size, "counts": counts.encode()}


def _box(entry: JsonObject) -> tuple[float, float, float, float] | None:
    box = entry.values.get("bbox")
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
        raise DatasetError(f"{entry.where}: 'bbox' should be left, top, width, height, found {box!r}; correct it")
    left, top, width, height = map(float, box)
    return left, top, width, height
