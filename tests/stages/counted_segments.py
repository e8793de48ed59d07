"""PQ counted one pair of masks at a time, from COCO's definition alone: nothing of the project is used."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COUNTS = ("tp", "fp", "fn")


def id_map(png: Path) -> NDArray[np.int64]:
    """Decode a panoptic PNG as COCO defines it."""
    red, green, blue = np.moveaxis(np.asarray(Image.open(png).convert("RGB"), np.int64), 2, 0)
    return np.asarray(red + 256 * green + 65536 * blue)


def count_segments(gt_json: Path, predictions: Path) -> tuple[dict[int, tuple[int, ...]], float]:
    """Return `COUNTS` of every image and the mean PQ of all classes, from files alone."""
    documents = (json.loads(path.read_text()) for path in (gt_json, predictions / "panoptic.json"))
    gt_annotations, results = ({one["image_id"]: one for one in document["annotations"]} for document in documents)
    by_image, by_class = {}, dict[int, Counter[str]]()
    for image_id, gt in gt_annotations.items():
        result = results[image_id]
        gt_ids = id_map(gt_json.with_suffix("") / gt["file_name"])
        ids = id_map(predictions / "panoptic" / result["file_name"])
        counts = panoptic_counts(gt_ids, gt["segments_info"], ids, result["segments_info"])
        by_image[image_id] = tuple(sum(one[name] for one in counts.values()) for name in COUNTS)
        for category_id, counted in counts.items():
            by_class.setdefault(category_id, Counter()).update(counted)
    qualities = [
        one["iou"] / (one["tp"] + (one["fp"] + one["fn"]) / 2)
        for one in by_class.values()
        if any(one[name] for name in COUNTS)
    ]
    return by_image, sum(qualities) / len(qualities)


def panoptic_counts(
    gt_ids: NDArray[np.int64], gt_segments: list[Any], ids: NDArray[np.int64], segments: list[Any]
) -> dict[int, Counter[str]]:
    """Count `tp`, `fp`, `fn` and `iou` of an image by category, by the definition, one pair of masks at a time."""
    counts = {one["category_id"]: Counter[str]() for one in (*gt_segments, *segments)}
    matched = set()
    for gt in (one for one in gt_segments if not one["iscrowd"]):
        category, mask = gt["category_id"], gt_ids == gt["id"]
        counts[category]["fn"] += 1
        for one in (one for one in segments if one["category_id"] == category):
            other = ids == one["id"]
            iou = (mask & other).sum() / (mask | (other & (gt_ids != 0))).sum()
            if iou > 0.5:
                counts[category].update({"tp": 1, "iou": iou, "fn": -1})
                matched.add(one["id"])
    for one in (one for one in segments if one["id"] not in matched):
        ignored = [0, *(gt["id"] for gt in gt_segments if gt["iscrowd"] and gt["category_id"] == one["category_id"])]
        if np.isin(gt_ids[ids == one["id"]], ignored).mean() <= 0.5:
            counts[one["category_id"]]["fp"] += 1
    return counts
