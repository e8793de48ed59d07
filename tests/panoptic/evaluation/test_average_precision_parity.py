"""AP of drawn cases that are hard to match, bit for bit that of pycocotools reading the same files."""

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic.evaluation.average_precision import AveragePrecision, average_precision
from panoptic.format.categories import CategoryTable
from panoptic.instances.detection_json import encode_mask
from panoptic.instances.results import read_instance_results
from panoptic.instances.rle import Rle

THINGS = (-5, 3, 2**40, 7)  # of which the last has no ground truth
CATEGORIES = [{"id": key, "name": f"thing {key}", "isthing": 1} for key in THINGS]
TABLE = CategoryTable.from_json(CATEGORIES)
SIDE = 24
AREA_BOUNDS = (16, 64)  # areas of squares that are drawn, so that some lie exactly on them
SCORES = (0, 0.25, 0.5, 0.1 + 0.2, 1e-300, -1, 1)
IouType = Literal["segm", "bbox"]
IOU_TYPES: Sequence[IouType] = ("segm", "bbox")
SEEDS = range(60)
Entry = dict[str, object]


@dataclass(frozen=True)
class Files:
    """The files that both read, and the maxima of detections."""

    ground_truth: Path
    results: Path
    max_dets: Sequence[int]


def _shape(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a box: left, top, width, height."""
    width, height = rng.choice([1, 2, 4, 8, 16], 2).tolist()
    left, top = rng.integers(0, (SIDE + 1 - width, SIDE + 1 - height)).tolist()
    return left, top, width, height


def _near(box: Sequence[int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    left, top, width, height = box
    dx, dy = rng.integers(-1, 2, 2).tolist()
    return min(max(left + dx, 0), SIDE - width), min(max(top + dy, 0), SIDE - height), width, height


def _mask(box: Sequence[int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Fill a box, with a hole in some; some masks are empty."""
    left, top, width, height = box
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[top : top + height, left : left + width] = rng.random() > 0.1
    if rng.random() < 0.3:
        mask[top : top + height // 2, left : left + width // 2] = False
    return mask


def _segmentation(mask: NDArray[np.bool_], rng: np.random.Generator) -> Mapping[str, object]:
    """Encode a mask; some have runs of no pixels, which other encoders write."""
    if rng.random() < 0.7:
        return encode_mask(mask)
    changes = np.flatnonzero(np.diff(mask.T.reshape(-1), prepend=False))
    runs = np.diff(changes, prepend=0, append=mask.size).tolist()
    position = int(rng.integers(len(runs)))
    first = int(rng.integers(runs[position] + 1))
    runs[position : position + 1] = [first, 0, runs[position] - first]
    # Its types do not declare uncompressed counts.
    counts = coco_mask.frPyObjects(cast("list[Rle]", [{"size": mask.shape, "counts": runs}]), SIDE, SIDE)[0]["counts"]
    return {"size": mask.shape, "counts": counts if isinstance(counts, str) else counts.decode()}


def _draw_image(image_id: object, many: bool, rng: np.random.Generator) -> tuple[list[Entry], list[Entry]]:
    """Draw ground truth, crowds among it, and results of which most are near it; some images have none of either."""
    boxes = [_shape(rng) for _ in range(rng.integers(0, 7) * (rng.random() > 0.2))]
    annotations: list[Entry] = []
    for box in boxes:
        mask = _mask(box, rng)
        area = mask.sum().item() if rng.random() < 0.8 else rng.choice([0, *AREA_BOUNDS, 16.5, 1e10]).item()
        shape = {"bbox": box, "segmentation": _segmentation(mask, rng), "area": area}
        flags = {"iscrowd": int(rng.random() < 0.2), "ignore": int(rng.random() < 0.2)}
        annotations.append({"image_id": image_id, "category_id": rng.choice(THINGS[:-1]).item(), **shape, **flags})
    results: list[Entry] = []
    for _ in range(130 if many else rng.integers(0, 14) * (rng.random() > 0.2)):
        box, category_id = _shape(rng), rng.choice(THINGS).item()
        if boxes and rng.random() < 0.8:
            number = rng.integers(len(boxes))
            box, category_id = _near(boxes[number], rng), annotations[number]["category_id"]
        bbox = [value + rng.choice([0, 0.25]).item() for value in box] if rng.random() < 0.9 else [*box[:3], 0]
        shape = {"segmentation": _segmentation(_mask(box, rng), rng), "bbox": bbox}
        score = rng.choice([rng.random(), *SCORES]).item()
        results.append({"image_id": image_id, "category_id": category_id, "score": score, **shape})
    return annotations, results


def _draw_files(seed: int, folder: Path) -> Files:
    rng = np.random.default_rng(seed)
    image_ids: Sequence[object] = rng.permutation([-3, 0, 7, 2**60]).tolist()
    many = seed % 5 == 0  # results of one class on one image
    if seed % 3 == 0:
        image_ids = ["town_b", "10", "9", "town_a"]
    pairs = [_draw_image(image_id, many and number == 0, rng) for number, image_id in enumerate(image_ids)]
    annotations = [entry for of_image, _ in pairs for entry in of_image]
    results = [entry for _, of_image in pairs for entry in of_image]
    if seed % 4 == 0:
        for result in results:
            del result["bbox"]
    rng.shuffle(results)
    document = {
        "images": [{"id": image_id, "height": SIDE, "width": SIDE} for image_id in image_ids],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(annotations, 1)],
        "categories": CATEGORIES,
    }
    files = Files(folder / "ground_truth.json", folder / "results.json", ((1, 10, 100), (1, 2, 4))[seed % 2])
    files.ground_truth.write_text(json.dumps(document))
    files.results.write_text(json.dumps(results))
    return files


def _reference(files: Files, iou_type: IouType) -> AveragePrecision:
    """Compute AP by pycocotools as it is documented, with its means over its tables; -1 stands for no value."""
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(files.ground_truth))
        evaluation = COCOeval(coco, coco.loadRes(str(files.results)), iou_type)
        evaluation.params.catIds = list(THINGS)
        evaluation.params.maxDets = list(files.max_dets)
        small, large = AREA_BOUNDS
        evaluation.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(values: NDArray[np.float64]) -> float | None:
        known = values[values > -1]
        return float(np.mean(known)) if len(known) else None

    thresholds: Sequence[slice | int] = (slice(None), 0, 5)
    values = [mean(precision[threshold, :, :, 0, 2]) for threshold in thresholds]
    values += [mean(precision[:, :, :, area, 2]) for area in (1, 2, 3)]
    values += [mean(recall[:, :, 0, step]) for step in (0, 1, 2)]
    values += [mean(recall[:, :, area, 2]) for area in (1, 2, 3)]
    maxima = [f"AR{count}" for count in files.max_dets]
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", *maxima, "ARs", "ARm", "ARl"]
    per_class = {thing: mean(precision[:, :, k, 0, 2]) for k, thing in enumerate(sorted(THINGS))}
    return AveragePrecision(dict(zip(names, values, strict=True)), per_class)


def _found(files: Files) -> Mapping[str, AveragePrecision]:
    results = read_instance_results(files.results, TABLE)
    return average_precision(files.ground_truth, results, TABLE, files.max_dets, AREA_BOUNDS).by_iou_type


@pytest.mark.parametrize("seed", SEEDS)
def test_all_numbers_equal_those_of_pycocotools(seed: int, tmp_path: Path) -> None:
    files = _draw_files(seed, tmp_path)
    found = _found(files)
    for iou_type in IOU_TYPES:
        assert found[iou_type] == _reference(files, iou_type)


def test_drawn_cases_have_something_to_be_right_about(tmp_path: Path) -> None:
    found = [_found(_draw_files(seed, tmp_path)) for seed in SEEDS]
    for iou_type in IOU_TYPES:
        numbers = np.array([list(case[iou_type].numbers.values()) for case in found], np.float64)
        assert ((numbers > 0) & (numbers < 1)).mean(axis=0).min() > 0.4
        assert all(case[iou_type].per_class[7] is None for case in found)
