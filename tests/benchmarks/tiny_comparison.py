"""A comparison of networks on a tiny dataset: its settings, and the files that its stages leave."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.compare_models.results import ComparisonReport, SeedResult, TrainingBudget
from benchmarks.harness.results import publish

BUDGET = TrainingBudget(steps=800, batch_size=4, images=150, jobs=2, threads=1, device="some machine")
PARAMS = """
dataset: {{name: tiny, root: {root}, train: train, val: val}}
annotate:
model: {{backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 2, levels: 3, points: 2,
  encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32,
  mask_feedforward: 32, queries: 6, stuff: joint, mask_head: fpn}}
train: {{epochs: 9, batch_size: 2, images_per_forward: 2, workers: 0, initial_weights: random,
  augmentation: {{resize_shorter: [], crop_probability: 0}}}}
predict: {{shorter: 32, longer: 64}}
"""
_GROUPS = ("all", "things", "stuff")
_QUALITIES = ("pq", "sq", "rq", "boundary_pq", "boundary_sq", "boundary_rq")
METRICS: dict[str, object] = {
    **dict.fromkeys(_QUALITIES, dict.fromkeys(_GROUPS, 0.5)),
    "ap": {"segm": {"AP": 0.25}, "bbox": {"AP": None}},
    "intervals": {"pq": {group: {"low": 0.4, "high": 0.6} for group in _GROUPS}},
}
"""What is written as the metrics of every run."""


def counts_by_image(quality: float) -> dict[str, object]:
    """Make the counts of four images in which one class has this PQ."""
    counts = {"tp": 1, "fp": 0, "fn": 0, "iou_sum": quality}
    return {str(image): {**counts, "classes": {"7": counts}} for image in range(4)}


def publish_quality(name: str, rows: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Publish a comparison in which rows have these PQ, one for each seed."""
    results = [
        SeedResult(row, seed, {"all": pq}, parameters=1_250_000, seconds=None)
        for row, found in rows.items()
        for seed, pq in enumerate(found)
    ]
    publish(name, "", ComparisonReport(BUDGET, results), folder)
