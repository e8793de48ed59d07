"""COCO's JSON files with all their fields, for images that tests have drawn."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.tiny_dataset import TinyImage

CATEGORIES = Path(__file__).parents[1] / "model" / "weights" / "official" / "coco_categories.json"


def image_list(images: Sequence[TinyImage], year: int) -> dict[str, object]:
    """The common part of COCO's files."""
    return {
        "info": {
            "description": f"COCO {year} Dataset",
            "url": "http://cocodataset.org",
            "version": "1.0",
            "year": year,
            "contributor": "COCO Consortium",
            "date_created": f"{year}/09/01",
        },
        "licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}],
        "images": [
            {
                "license": 4,
                "file_name": f"{image.image_id:012}.jpg",
                "coco_url": f"http://images.cocodataset.org/{image.image_id:012}.jpg",
                "height": image.ids.shape[0],
                "width": image.ids.shape[1],
                "date_captured": "2013-11-14 17:02:52",
                "flickr_url": "http://farm7.staticflickr.com/0_z.jpg",
                "id": image.image_id,
            }
            for image in images
        ],
    }


def panoptic(images: Sequence[TinyImage]) -> dict[str, object]:
    annotations = [
        {
            "segments_info": [
                {
                    "area": int((image.ids == label.id).sum()),
                    "category_id": label.category_id,
                    "iscrowd": int(label.is_crowd),
                    "id": label.id,
                    "bbox": _box(image.ids == label.id),
                }
                for label in image.segments
            ],
            "file_name": f"{image.image_id:012}.png",
            "image_id": image.image_id,
        }
        for image in images
    ]
    return {**image_list(images, 2018), "annotations": annotations, "categories": categories()}


def instances(images: Sequence[TinyImage]) -> dict[str, object]:
    things = {category["id"] for category in thing_categories()}
    annotations: list[dict[str, object]] = []
    for image in images:
        for label in image.segments:
            if label.category_id in things:
                mask = image.ids == label.id
                left, top, width, height = _box(mask)
                right, bottom = left + width, top + height
                annotations.append(
                    {
                        "segmentation": {"counts": _run_lengths(mask), "size": list(mask.shape)}
                        if label.is_crowd
                        else [[float(edge) for edge in (left, top, right, top, right, bottom, left, bottom)]],
                        "area": float(mask.sum()),
                        "iscrowd": int(label.is_crowd),
                        "image_id": image.image_id,
                        "bbox": [float(side) for side in (left, top, width, height)],
                        "category_id": label.category_id,
                        "id": (900_100_000_000 if label.is_crowd else 1700) + len(annotations),
                    }
                )
    return {**image_list(images, 2017), "annotations": annotations, "categories": thing_categories()}


def categories() -> list[dict[str, object]]:
    """The 80 things and 53 stuff classes."""
    rows = json.loads(CATEGORIES.read_text())["categories"]
    return [{"supercategory": "any", "color": [row["id"], 255 - row["id"], 9], **row} for row in rows]


def thing_categories() -> list[dict[str, object]]:
    keys = ("supercategory", "id", "name")
    return [{key: row[key] for key in keys} for row in categories() if row["isthing"]]


def _box(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of 0, 1, 0, ... down the columns."""
    flat = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(np.diff(flat))
    return [int(length) for length in np.diff([0, *changes.tolist(), mask.size])]
