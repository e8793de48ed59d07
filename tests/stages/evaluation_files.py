"""Files to evaluate, and the arguments that name them."""

from pathlib import Path

import numpy as np

from panoptic.format.segments import SegmentLabel
from tests.tiny_dataset import TinyImage, random_images, write_split


def evaluation_arguments(ground_truth: Path, results: Path, output: Path) -> list[str]:
    return [
        *("--ground-truth-json", str(ground_truth / "annotations" / "panoptic_val.json")),
        *("--ground-truth-folder", str(ground_truth / "annotations" / "panoptic_val")),
        *("--predictions-json", str(results / "annotations" / "panoptic_val.json")),
        *("--predictions-folder", str(results / "annotations" / "panoptic_val")),
        *("--metrics", str(output / "metrics.json")),
        *("--per-class", str(output / "per_class.json")),
        *("--per-image", str(output / "per_image.json")),
    ]


def write_evaluation(root: Path) -> list[str]:
    """Three images in `ground_truth/`, results that lack some pixels in `results/`; what is written comes to `out/`."""
    images = random_images(seed=9, count=3)
    results = []
    for image in images:
        ids = np.where(np.arange(image.ids.shape[1]) % 9 == 0, 0, image.ids).astype(np.int32)
        segments = tuple(SegmentLabel(s.id, s.category_id, False) for s in image.segments if np.any(ids == s.id))
        results.append(TinyImage(image.image_id, image.image, ids, segments))
    write_split(root / "ground_truth", "val", images)
    write_split(root / "results", "val", results)
    return evaluation_arguments(root / "ground_truth", root / "results", root / "out")
