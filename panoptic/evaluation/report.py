"""Scores as JSON and as a printed table. JSON has fractions of 1 at full precision, null where nothing occurs."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import reduce
from operator import add

from panoptic.evaluation.average_precision import AveragePrecision
from panoptic.evaluation.bootstrap import Intervals
from panoptic.evaluation.scores import CountMetric, ImageCounts, Scores
from panoptic.format.image_id import ImageId

Precisions = Mapping[str, AveragePrecision]


def metrics_to_json(scores: Scores, precisions: Precisions, intervals: Intervals) -> dict[str, object]:
    """`pq`, `sq`, `rq` and `boundary_*` by group, `miou`, and `ap` and `intervals` where there are any."""
    metrics: dict[str, object] = {
        name: groups if metric.by_group else groups["all"]
        for metric in scores.metrics
        for name, groups in scores.averages(metric).items()
    }
    if precisions:
        metrics["ap"] = {iou_type: precision.numbers for iou_type, precision in precisions.items()}
    if intervals:
        metrics["intervals"] = {
            name: {group: limits and asdict(limits) for group, limits in groups.items()}
            for name, groups in intervals.items()
        }
    return metrics


_SUMMARY = {
    "PQ": "pq.all",
    "PQ_th": "pq.things",
    "PQ_st": "pq.stuff",
    "SQ": "sq.all",
    "RQ": "rq.all",
    "boundary_PQ": "boundary_pq.all",
    "mIoU": "miou",
    "AP": "ap.segm.AP",
}


def summary(metrics: Mapping[str, object]) -> dict[str, object]:
    """The best-known averages of `metrics_to_json`, few enough for one line; None where there is none."""
    found: dict[str, object] = {}
    for name, key in _SUMMARY.items():
        value: object = metrics
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found[name] = value
    return found


def per_class_to_json(scores: Scores, precisions: Precisions) -> dict[str, object]:
    """Counts and values of every category by its id; those for boundaries under `boundary`."""
    values = {metric.name: scores.per_class(metric) for metric in scores.metrics}
    document: dict[str, object] = {}
    for category in scores.categories:
        entry: dict[str, object] = {"name": category.name}
        for metric in sorted(scores.metrics, key=lambda metric: metric.section):  # sections come last
            counts = asdict(scores.sums[metric.name][category.id]) if metric.lists_counts else {}
            _insert(entry, metric, counts | values[metric.name][category.id])
        if precisions and category.is_thing:
            entry["ap"] = {iou_type: precision.per_class[category.id] for iou_type, precision in precisions.items()}
        document[str(category.id)] = entry
    return document


def per_image_to_json(scores: Scores, per_image: Mapping[ImageId, ImageCounts]) -> dict[str, object]:
    """Counts of every image by its id: in total, and by category id under `classes`; `boundary` likewise."""
    document: dict[str, object] = {}
    for image_id, image in per_image.items():
        entry: dict[str, object] = {}
        for metric in scores.metrics:
            if metric.lists_counts:
                counts = image[metric.name]
                classes = {str(category_id): asdict(count) for category_id, count in sorted(counts.items())}
                total = reduce(add, counts.values(), metric.zero)
                _insert(entry, metric, {**asdict(total), "classes": classes})
        document[str(image_id)] = entry
    return document


_IOU_TYPES = {"segm": "mask", "bbox": "box"}


def format_table(scores: Scores, precisions: Precisions, intervals: Intervals, images: int) -> str:
    """The averages in percent."""
    columns: dict[str, Mapping[str, float | None]] = {}
    singles: dict[str, float | None] = {}
    for metric in scores.metrics:
        for title, groups in zip(metric.titles, scores.averages(metric).values(), strict=True):
            if metric.by_group:
                columns[title] = groups
            else:
                singles[title] = groups["all"]
    for iou_type, precision in precisions.items():
        singles |= {f"{_IOU_TYPES[iou_type]} {name}": precision.numbers[name] for name in ("AP", "AP50", "AP75")}
    lines = [f"{'':8}" + "".join(f"{title:>13}" for title in columns) + f"{'classes':>9}"]
    for group, classes in scores.classes.items():
        values = "".join(f"{_percent(groups[group]):>13}" for groups in columns.values())
        lines.append(f"{group:8}{values}{classes:>9}")
    lines.append("   ".join(f"{title} {_percent(value)}" for title, value in singles.items()))
    limits = intervals.get("pq", {}).get("all")
    if limits:
        lines.append(f"95 % confidence interval of PQ: {_percent(limits.low)} to {_percent(limits.high)}")
    return "\n".join([*lines, f"{images} images; percent, averaged over the classes that occur"])


def _insert(entry: dict[str, object], metric: CountMetric, part: Mapping[str, object]) -> None:
    """Add what belongs to a metric, below its section if it has one."""
    entry.update({metric.section: part} if metric.section else part)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
