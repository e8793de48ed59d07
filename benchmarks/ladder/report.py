"""The page of `benchmarks.ladder`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.harness.results import Summary, mean_and_range
from benchmarks.ladder.rows import ROWS, TABLE_4, TABLE_5
from panoptic.markdown import markdown_page, markdown_table

_DETECTOR = (
    "The table's first row, Deformable DETR as a detector, has no masks and is not among the networks here; `d_detr_ms`"
    " above is Deformable DETR with DETR's mask head."
)


@dataclass(frozen=True)
class CostResult:
    """What a network costs here.

    Attributes:
        row: key of `ROWS`.
        parameters, gmacs: in millions and G, by the papers' count, at the papers' size.
        seconds: of an image, network and post-processing.
        speedup: seconds of the first row divided by these, round by round.
        training_mb: peak of a training step with one image.
        pq: in percent, of the same network at the size of `mini`, by seed; empty where it was not compared.
    """

    row: str
    parameters: float
    gmacs: float
    seconds: Summary
    speedup: Summary
    training_mb: float
    pq: Sequence[float]


@dataclass(frozen=True)
class LadderReport:
    """All rows; `comparison` is the file that PQ on `mini` was read from, None if there was none."""

    size: tuple[int, int]
    rounds: int
    device: str
    comparison: str | None
    rows: Sequence[CostResult]


def ladder_page(report: LadderReport) -> str:
    """Render a table for each of the papers' tables that has rows."""
    return markdown_page(
        "# From DETR to Panoptic SegFormer: quality, size and speed",
        _introduction(report),
        *(block for table in (TABLE_5, TABLE_4) for block in _section(report, table)),
    )


def _introduction(report: LadderReport) -> str:
    height, width = report.size
    quality = (
        f"PQ on `mini` is that of small networks of the same design, from {report.comparison}: the mean over the seeds,"
        " with the lowest and the highest in brackets."
        if report.comparison
        else "There is no PQ on `mini` yet: it comes from `python -m benchmarks.compare_models`."
    )
    return (
        "Written by `python -m benchmarks.ladder`. Networks of the papers' sizes with random weights. Parameters in"
        " millions and multiply-adds in G by the papers' count and at their image size (`model.complexity`)."
        f" Images per second (FPS) of one image of {height} x {width} at a time, from the resized image to the panoptic"
        " map, on drawn masks like a trained network's, as random weights find nothing to merge; the median of"
        f" {report.rounds} interleaved rounds with the lowest and the highest in brackets, on {report.device}. The"
        " papers' FPS are those of a V100 at full size: only ratios can be compared. Memory: the growth of the process,"
        f" or of CUDA's memory, in two training steps with one such image. {quality}"
    )


def _section(report: LadderReport, table: str) -> Iterator[str]:
    found = [result for result in report.rows if ROWS[result.row].table == table]
    if found:
        yield f"## {table[0].upper()}{table[1:]}"
        columns = ["row", "M", "paper", "G", "paper", "FPS", "times", "paper", "training, MB", "paper"]
        has_pq = any(ROWS[result.row].printed("PQ") for result in found)
        quality = ["PQ on mini", "PQ, paper"] if has_pq else []
        first = ROWS[report.rows[0].row].title
        yield f"*times*: as many images per second as {first}."
        rows = [[*_costs(result), *(_quality(result) if has_pq else ())] for result in found]
        yield markdown_table([*columns, *quality], rows)
        models = [ROWS[result.row].model for result in found]
        yield "\n".join(dict.fromkeys(f"- {model.title}: {model.remark}" for model in models if model.remark))
        if table == TABLE_4:
            yield _DETECTOR


def _costs(result: CostResult) -> list[str]:
    row = ROWS[result.row]
    return [
        row.title,
        f"{result.parameters:.1f}",
        _number(row.model.parameters, 1),
        f"{result.gmacs:.1f}",
        _number(row.model.gmacs, 1),
        f"{result.seconds.reciprocal:.2f}",
        f"{result.speedup:.2f}",
        _number(row.printed("FPS"), 1),
        f"{result.training_mb:.0f}",
        _number(row.printed("memory"), 0),
    ]


def _quality(result: CostResult) -> list[str]:
    return [mean_and_range(result.pq) if result.pq else "-", _number(ROWS[result.row].printed("PQ"), 1)]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
