"""Scores as JSON and as a table for people. JSON has fractions of 1 at full precision, null where nothing occurs."""

from collections.abc import Mapping

from panoptic.evaluation.average_precision import AveragePrecision
from panoptic.evaluation.bootstrap import Intervals
from panoptic.evaluation.panoptic_quality import ClassQuality, GroupQuality, PanopticQuality
from panoptic.evaluation.scores import ImageScore, Scores

Precisions = Mapping[str, AveragePrecision]


def metrics_to_json(scores: Scores, precisions: Precisions, intervals: Intervals) -> dict[str, object]:
    """`pq`, `sq`, `rq` and `boundary_*` by group, `miou`, and where there are some `ap` and `intervals`."""
    metrics: dict[str, object] = {
        f"{prefix}{name}": {group: getattr(quality, name) for group, quality in _groups(kind).items()}
        for prefix, kind in _kinds(scores).items()
        for name in ("pq", "sq", "rq")
    }
    metrics["miou"] = scores.miou
    if precisions:
        metrics["ap"] = {kind: precision.numbers for kind, precision in precisions.items()}
    if intervals:
        metrics["intervals"] = {
            name: {group: limits and {"low": limits.low, "high": limits.high} for group, limits in groups.items()}
            for name, groups in intervals.items()
        }
    return metrics


def per_class_to_json(scores: Scores, precisions: Precisions) -> dict[str, object]:
    """Counts and qualities of every category by its id; under `boundary` the same for boundaries."""
    document: dict[str, object] = {}
    for category in scores.categories:
        entry = {"name": category.name} | _class_to_json(scores.quality.per_class[category.id])
        entry["iou"] = scores.semantic[category.id].iou
        if scores.boundary_quality is not None:
            entry["boundary"] = _class_to_json(scores.boundary_quality.per_class[category.id])
        if precisions and category.is_thing:
            entry["ap"] = {kind: precision.per_class[category.id] for kind, precision in precisions.items()}
        document[str(category.id)] = entry
    return document


def per_image_to_json(per_image: Mapping[int, ImageScore], boundaries: bool) -> dict[str, object]:
    """Counts of every image by its id, in total and, under `classes`, by category id; `boundary` likewise."""
    return {
        str(image_id): _image_to_json(score.masks)
        | ({"boundary": _image_to_json(score.boundaries)} if boundaries else {})
        for image_id, score in per_image.items()
    }


def format_table(scores: Scores, precisions: Precisions, intervals: Intervals, images: int) -> str:
    """The averages in percent."""
    kinds = _kinds(scores)
    titles = [f"{'boundary ' if prefix else ''}{name}" for prefix in kinds for name in ("PQ", "SQ", "RQ")]
    lines = [f"{'':8}" + "".join(f"{title:>13}" for title in titles) + f"{'classes':>9}"]
    for group in ("all", "things", "stuff"):
        qualities = [_groups(kind)[group] for kind in kinds.values()]
        values = [value for quality in qualities for value in (quality.pq, quality.sq, quality.rq)]
        lines.append(
            f"{group:8}" + "".join(f"{_percent(value):>13}" for value in values) + f"{qualities[0].classes:>9}"
        )
    singles = {"mIoU": scores.miou}
    for kind, precision in precisions.items():
        singles |= {f"{kind} {name}": precision.numbers[name] for name in ("AP", "AP50", "AP75")}
    lines.append("   ".join(f"{name} {_percent(value)}" for name, value in singles.items()))
    limits = intervals.get("pq", {}).get("all")
    if limits:
        lines.append(f"PQ {_percent(limits.low)} to {_percent(limits.high)} for other images (95 %)")
    return "\n".join([*lines, f"{images} images; percent, averaged over the classes that occur"])


def _kinds(scores: Scores) -> dict[str, PanopticQuality]:
    """By the prefix of their names."""
    return {"": scores.quality} | ({"boundary_": scores.boundary_quality} if scores.boundary_quality else {})


def _groups(quality: PanopticQuality) -> dict[str, GroupQuality]:
    return {"all": quality.all, "things": quality.things, "stuff": quality.stuff}


def _image_to_json(counts: Mapping[int, ClassQuality]) -> dict[str, object]:
    classes = {str(category_id): _counts_to_json(count) for category_id, count in sorted(counts.items())}
    return _counts_to_json(sum(counts.values(), ClassQuality())) | {"classes": classes}


def _counts_to_json(count: ClassQuality) -> dict[str, object]:
    return {"tp": count.tp, "fp": count.fp, "fn": count.fn, "iou_sum": count.iou_sum}


def _class_to_json(count: ClassQuality) -> dict[str, object]:
    return _counts_to_json(count) | {"pq": count.pq, "sq": count.sq, "rq": count.rq}


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
