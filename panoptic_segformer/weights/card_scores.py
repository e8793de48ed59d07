"""The scores of a model card: averages with their intervals, and the best and worst classes."""

from collections.abc import Iterator
from typing import NamedTuple

from panoptic.io.json_fields import JsonObject
from panoptic.markdown import markdown_table
from panoptic_segformer.weights.bundle import Bundle
from panoptic_segformer.weights.names import METRICS, PER_CLASS

_EXTREMES = 3
_GROUPS = ("all", "things", "stuff")


class Headline(NamedTuple):
    """An average, how it is called, and where it is in the metrics."""

    title: str
    type: str
    key: str


HEADLINES = (
    Headline("PQ", "pq", "pq.all"),
    Headline("PQ (things)", "pq_things", "pq.things"),
    Headline("PQ (stuff)", "pq_stuff", "pq.stuff"),
    Headline("Boundary PQ", "boundary_pq", "boundary_pq.all"),
    Headline("mIoU", "mean_iou", "miou"),
    Headline("Mask AP", "map", "ap.segm.AP"),
)
_ROWS = {"PQ": "pq", "SQ": "sq", "RQ": "rq", "Boundary PQ": "boundary_pq"}


def value_of(metrics: JsonObject, key: str) -> float | None:
    """Look up a number by the dotted path of its keys; None where there is none."""
    *parents, last = key.split(".")
    for name in parents:
        if not metrics.has(name):
            return None
        metrics = metrics.child(name)
    return metrics.optional_number(last)


def percent(value: float | None) -> str:
    """Format a fraction as a percentage; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def describe_scores(bundle: Bundle) -> Iterator[str]:
    """Yield the paragraphs and tables of the section on scores."""
    metrics = bundle.read(METRICS)
    if metrics is None:
        yield "None come with these weights."
        return
    said = (
        "A passport seals them to these weights."
        if bundle.has_sealed_scores
        else ("Their owner says that they are of these weights; no passport does.")
    )
    images = bundle.passport.section("splits").child("val").integer("images") if bundle.passport else None
    yield (
        f"Over the {f'{images} ' if images else ''}validation images, in percent, averaged over the classes, with 95 % "
        f"confidence intervals (bootstrap over the images). {said}"
    )
    rows = [[title, *(_with_interval(metrics, name, group) for group in _GROUPS)] for title, name in _ROWS.items()]
    rows.append(["mIoU", _number(value_of(metrics, "miou"), metrics, "miou", "all"), "", ""])
    if metrics.has("ap"):
        rows += [
            [title, percent(value_of(metrics, f"ap.{kind}.AP")), "", ""]
            for title, kind in {"Mask AP": "segm", "Box AP": "bbox"}.items()
        ]
    yield markdown_table(["", *_GROUPS], rows)
    yield from _extremes(bundle)


def _with_interval(metrics: JsonObject, name: str, group: str) -> str:
    return _number(value_of(metrics, f"{name}.{group}"), metrics, name, group)


def _number(value: float | None, metrics: JsonObject, name: str, group: str) -> str:
    low, high = (value_of(metrics, f"intervals.{name}.{group}.{end}") for end in ("low", "high"))
    return percent(value) if low is None or high is None else f"{percent(value)} ({percent(low)} to {percent(high)})"


def _extremes(bundle: Bundle) -> Iterator[str]:
    """The classes with the highest and the lowest PQ, with how many segments that is judged by."""
    per_class = bundle.read(PER_CLASS)
    if per_class is None:
        return
    classes = [per_class.child(key) for key in per_class.values]
    scored = sorted((each for each in classes if each.has("pq")), key=lambda each: -each.number("pq"))
    shown = {each.where: each for each in (*scored[:_EXTREMES], *scored[-_EXTREMES:])}
    if not shown:
        return
    yield f"The best and the worst of {len(scored)} classes that occur in the validation images:"
    yield markdown_table(["class", "PQ", "SQ", "RQ", "segments"], [_class_row(each) for each in shown.values()])


def _class_row(entry: JsonObject) -> list[str]:
    segments = entry.integer("tp") + entry.integer("fn")
    return [entry.text("name"), *(percent(value_of(entry, name)) for name in ("pq", "sq", "rq")), str(segments)]


def describe_classes(bundle: Bundle) -> Iterator[str]:
    """Yield the names of all classes, things and stuff."""
    categories = bundle.checkpoint.categories
    names = categories.unique_names()
    for title, group in (("Things", categories.things), ("Stuff", categories.stuff)):
        if group:
            yield f"**{title}** ({len(group)}): {', '.join(names[category.id] for category in group)}."
