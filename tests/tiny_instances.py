"""Tiny files of instances in COCO's formats, for tests of everything that reads them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic.instances.detection_json import encode_mask
from tests.tiny_dataset import CATEGORIES

Entries = list[dict[str, object]]


@dataclass(frozen=True)
class InstanceFiles:
    """Ground truth in COCO's detection format, and results."""

    ground_truth: Path
    results: Path


def write_instances(folder: Path) -> InstanceFiles:
    """Ground truth with balls, stars, sky and crowd on images of 160 x 160, ids from 0, and results near them."""
    rng = np.random.default_rng(0)
    images = [{"id": number, "height": 160, "width": 160} for number in (4, 5, 9)]
    annotations: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for image in images:
        for number in range(9):
            side = int(rng.choice([9, 40, 110]))
            top, left = rng.integers(0, 160 - side, 2).tolist()
            mask = np.zeros((160, 160), np.bool_)
            mask[top : top + side, left : left + side] = True
            category = int(rng.choice([3, 7])) if number else 11
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image["id"],
                    "category_id": category,
                    "iscrowd": int(number == 8),
                    "area": int(mask.sum()),
                    "bbox": [left, top, side, side],
                    "segmentation": encode_mask(mask),
                }
            )
            if category == 11:
                continue
            for _ in range(2):
                dy, dx = rng.integers(-2, 3, 2).tolist()
                moved = np.roll(mask, (dy, dx), (0, 1))
                moved[top + side // 2 :, left : left + side // 2] = False
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": category if rng.random() < 0.8 else 10 - category,
                        "segmentation": encode_mask(moved),
                        "bbox": [max(left + dx, 0), max(top + dy, 0), side, side],
                        "score": float(rng.random()),
                    }
                )
    ground_truth, found = folder / "ground_truth.json", folder / "results.json"
    ground_truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    found.write_text(json.dumps(results))
    return InstanceFiles(ground_truth, found)


def edit(path: Path, change: Callable[[Entries], object]) -> None:
    """Change the results, or the annotations of the ground truth."""
    document = json.loads(path.read_text())
    change(document if isinstance(document, list) else document["annotations"])
    path.write_text(json.dumps(document))
