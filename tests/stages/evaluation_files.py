"""Files to evaluate, and the arguments that name them."""

from pathlib import Path

import numpy as np

from panoptic.format.segments import SegmentLabel
from tests.tiny_dataset import TinyPicture, random_pictures, write_split


def evaluation_arguments(truth: Path, results: Path, output: Path) -> list[str]:
    return [
        *("--ground-truth-json", str(truth / "annotations" / "panoptic_val.json")),
        *("--ground-truth-folder", str(truth / "annotations" / "panoptic_val")),
        *("--predictions-json", str(results / "annotations" / "panoptic_val.json")),
        *("--predictions-folder", str(results / "annotations" / "panoptic_val")),
        *("--metrics", str(output / "metrics.json")),
        *("--per-class", str(output / "per_class.json")),
        *("--per-image", str(output / "per_image.json")),
    ]


def write_evaluation(root: Path) -> list[str]:
    """Three pictures in `truth/`, results that lack some pixels in `results/`; what is written comes to `out/`."""
    pictures = random_pictures(seed=9, count=3)
    results = []
    for picture in pictures:
        ids = np.where(np.arange(picture.ids.shape[1]) % 9 == 0, 0, picture.ids).astype(np.int32)
        segments = tuple(SegmentLabel(s.id, s.category_id, False) for s in picture.segments if np.any(ids == s.id))
        results.append(TinyPicture(picture.image_id, picture.image, ids, segments))
    write_split(root / "truth", "val", pictures)
    write_split(root / "results", "val", results)
    return evaluation_arguments(root / "truth", root / "results", root / "out")
