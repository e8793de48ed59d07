"""The content of the sections about a run: cards, bars and rows of tables, ready for the template."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from panoptic.error_browser.entries import SegmentEntry
from panoptic.evaluation.sizes import SIZES
from panoptic.format.categories import CategoryTable
from panoptic.report.browsed import OUTCOMES
from panoptic.report.images import Example
from panoptic.report.run_files import RunFiles
from panoptic.report.scores import ClassScores, Score
from panoptic.robustness.corruptions import find_corruption
from panoptic.robustness.summary import CLASS_GROUPS, Robustness

# By the full name of a score: its title, and what it means.
HEADLINE: Mapping[str, tuple[str, str]] = {
    "pq.all": ("PQ", "panoptic quality: SQ times RQ of each class, and the mean over classes"),
    "pq.things": ("PQ of things", "classes that can be counted, such as cars"),
    "pq.stuff": ("PQ of stuff", "classes that cannot be counted, such as sky"),
    "boundary_pq.all": ("boundary PQ", "PQ with overlap measured near outlines only"),
    "sq.all": ("SQ", "segmentation quality: mean IoU of the segments found"),
    "rq.all": ("RQ", "recognition quality: F1 score of finding segments"),
    "miou": ("mIoU", "mean IoU of the classes, pixel by pixel, whatever the segment"),
    "ap.segm.AP": ("mask AP", "COCO's average precision of things by mask"),
    "ap.bbox.AP": ("box AP", "the same by bounding box"),
}
ERRORS: Mapping[str, str] = {
    "boundary": "pixels along the outlines of segments that were found",
    "interior": "pixels deeper inside them",
    "merging": "things that the network had found and merging dropped",
    "classification": "segments found, but as another class",
    "localization": "segments of the right class with IoU from 0.1 to 0.5",
    "missed": "segments not found at all",
    "background": "predictions of what is not there",
}
ORACLES: Mapping[str, str] = {
    "perfect_classes": "if every mask had the right class",
    "perfect_masks": "if every mask that was found were exact",
    "perfect_merging": "if merging kept every thing that the network had found",
}


@dataclass(frozen=True)
class Card:
    """A score with its title and meaning."""

    title: str
    meaning: str
    score: Score


@dataclass(frozen=True)
class SizeRow:
    """A size of segments: their number in the ground truth, PQ of all, things and stuff, and SQ and RQ of all."""

    size: str
    segments: float | None
    scores: Sequence[Score]


@dataclass(frozen=True)
class ClassRow:
    """A class in the table of classes."""

    scores: ClassScores
    type: str
    color: str
    largest_loss: tuple[str, float] | None


@dataclass(frozen=True)
class SegmentRow:
    """The outcome of a segment in words."""

    side: str
    name: str
    color: str
    outcome: str
    words: str
    other: str
    iou: float
    score: float | None


@dataclass(frozen=True)
class ExampleRows:
    """An example with the outcomes of its segments, and how many had each."""

    title: str
    example: Example
    counts: Sequence[tuple[str, str, int]]
    rows: Sequence[SegmentRow]


@dataclass(frozen=True)
class Confusion:
    """The number of times that a class was taken for another, and their fraction of the segments of the class."""

    name: str
    color: str
    found: str
    found_color: str
    count: int
    fraction: float | None


@dataclass(frozen=True)
class CorruptionRow:
    """PQ under a corruption; fractions of 1."""

    name: str
    group: str
    mean: float | None
    retained: float | None
    levels: Sequence[float | None]


def cards(run: RunFiles) -> list[Card]:
    """Return the headline scores that the run has."""
    return [Card(*text, run.scores[name]) for name, text in HEADLINE.items() if name in run.scores]


def size_rows(run: RunFiles) -> list[SizeRow]:
    """Return PQ of small, medium and large segments; nothing for scores without them."""
    found = []
    for size in SIZES:
        segments, scores = run.scores.get(f"segments_by_size.{size}.all"), run.scores
        if segments is not None and f"pq_{size}.all" in scores:
            names = [f"pq_{size}.{group}" for group in CLASS_GROUPS] + [f"{name}_{size}.all" for name in ("sq", "rq")]
            found.append(SizeRow(size, segments.value, [scores.get(name, Score(None)) for name in names]))
    return found


def class_rows(run: RunFiles) -> list[ClassRow]:
    """Return a row for each class, with the error type that costs it most."""
    rows = []
    for scores in run.classes or ():
        breakdown = (run.breakdown or {}).get(str(scores.id))
        losses = {name: loss for name, loss in breakdown.pq_loss.items() if loss} if breakdown else {}
        largest = max(losses.items(), key=lambda item: item[1]) if losses else None
        rows.append(ClassRow(scores, *type_and_color(run.categories, scores.id), largest))
    return rows


def type_and_color(categories: CategoryTable | None, category_id: int) -> tuple[str, str]:
    """Return the type of a class and its color; both are empty if they are not known."""
    if categories is None or category_id not in categories:
        return "", ""
    category = categories.by_id(category_id)
    return "thing" if category.is_thing else "stuff", category.web_color


def example_rows(title: str, example: Example, categories: CategoryTable) -> ExampleRows:
    """Return the outcome of every segment of the ground truth, and of every prediction that is not right."""
    rows = [_segment_row("ground_truth", segment, categories) for segment in example.entry.ground_truth]
    wrong = [segment for segment in example.entry.prediction if segment.outcome != "matched"]
    rows += [_segment_row("prediction", segment, categories) for segment in wrong]
    counts = Counter((row.outcome, row.words) for row in rows)
    return ExampleRows(title, example, [(*outcome, count) for outcome, count in counts.most_common()], rows)


def confusions(run: RunFiles) -> list[Confusion]:
    """Return which classes were taken for which, most frequent first."""
    if run.browsed is None:
        return []
    categories = run.browsed.categories
    segments = {scores.id: scores.tp + scores.fn for scores in run.classes or ()}
    found = sorted(run.browsed.confusions.items(), key=lambda item: (-item[1], item[0]))
    rows = []
    for (gt_id, found_id), count in found:
        gt, other = categories.by_id(gt_id), categories.by_id(found_id)
        fraction = count / segments[gt_id] if segments.get(gt_id) else None
        rows.append(Confusion(gt.name, gt.web_color, other.name, other.web_color, count, fraction))
    return rows


def corruption_rows(robustness: Robustness) -> list[CorruptionRow]:
    """Return a row for each corruption, and a first one for their mean."""
    clean = robustness.clean["pq"]["all"]

    def row(name: str, group: str, mean: float | None, levels: list[float | None]) -> CorruptionRow:
        return CorruptionRow(name, group, mean, mean / clean if mean is not None and clean else None, levels)

    means = [robustness.mean_pq(severity) for severity in robustness.severities]
    rows = [row("mean of all", "", robustness.mean_pq(), means)]
    for name in robustness.corruptions:
        levels = [robustness.pq(name, severity) for severity in robustness.severities]
        rows.append(row(name.replace("_", " "), find_corruption(name).group, robustness.pq(name), levels))
    return rows


def _segment_row(side: str, segment: SegmentEntry, categories: CategoryTable) -> SegmentRow:
    category = categories.by_id(segment.category_id)
    other = segment.other_category_id
    return SegmentRow(
        side=side.replace("_", " "),
        name=category.name,
        color=category.web_color,
        outcome=segment.outcome,
        words=OUTCOMES[side][segment.outcome],
        other="" if other is None or segment.outcome == "matched" else categories.by_id(other).name,
        iou=segment.iou,
        score=segment.score,
    )
