"""The rows as a page of Markdown."""

from collections.abc import Sequence

from model.complexity.rows import GIGA, MEGA, ModelRow
from model.published import UNUSED_PARAMETERS

EXPLANATION = """Parameters in millions (M); multiply-adds of one image in G, a product with its sum as one.
*Paper's count*: of parameters, the trained ones and those that the published files carry unused; of multiply-adds,
convolutions, linear layers, norms, ReLUs and pooling, at the size that the paper used.
*Full*: all convolutions and matrix products, attention included; *sampling*: what deformable attention adds to that."""
LATENCY = """The network alone, with random weights, on one image. Memory is that at the peak, weights included."""
PUBLISHED_FILES = """All that the authors' files hold; ours lack the parts that nothing uses."""


def markdown(rows: Sequence[ModelRow]) -> str:
    """The table of models with remarks, what published files hold, latencies, and the table of the models' parts."""
    remarks = [f"* `{row.name}`: {row.paper.remark}" for row in rows if row.paper and row.paper.remark]
    sections = [
        "# Complexity",
        EXPLANATION,
        models_table(rows),
        *(["\n".join(remarks)] if remarks else []),
        *_published_files(rows),
        *_latencies(rows),
        "## By part",
        "M parameters / G of the full count without sampling, {} x {}.".format(*rows[0].size),
        _parts_table(rows),
    ]
    return "\n\n".join(sections) + "\n"


def models_table(rows: Sequence[ModelRow]) -> str:
    """One line a model."""
    width, height = rows[0].size
    header = ["model", "M", "M trainable", "M paper's count", "M paper", "diff.", "paper's size"]
    header += ["G paper's count", "G paper", "diff.", f"G full, {width} x {height}", "G sampling"]
    return _table(header, [_line(row) for row in rows])


def _line(row: ModelRow) -> list[str]:
    paper, size = row.paper, row.paper.size if row.paper else row.size
    modules = sum(row.macs.modules.values()) if row.macs_at_papers_size is None else row.macs_at_papers_size
    return [
        row.name,
        _number(sum(row.parameters.all.values()) / MEGA, 2),
        _number(sum(row.parameters.trainable.values()) / MEGA, 2),
        _number(None if row.papers_parameters is None else row.papers_parameters / MEGA, 2),
        _number(paper.parameters if paper else None, 1),
        _difference(row.parameters_difference),
        f"{size[0]} x {size[1]}",
        _number(modules / GIGA, 1),
        _number(paper.gmacs if paper else None, 1),
        _difference(row.macs_difference),
        _number(sum(row.macs.products.values()) / GIGA, 1),
        _number(sum(row.macs.sampling.values()) / GIGA, 1),
    ]


def _published_files(rows: Sequence[ModelRow]) -> list[str]:
    """Parameters to the last digit of the models whose checkpoints were published; nothing where there are none."""
    published = [row for row in rows if row.paper and row.paper.checkpoint]
    if not published:
        return []
    parts = list(UNUSED_PARAMETERS)
    unused = [f"{count:,}" for count in UNUSED_PARAMETERS.values()]
    lines = [
        [row.name, f"{sum(row.parameters.all.values()):,}", *unused, f"{row.official_parameters:,}"]
        for row in published
    ]
    header = ["model", "ours", *(f"`{part}`" for part in parts), "in all"]
    return ["## Parameters of the published files", PUBLISHED_FILES, _table(header, lines)]


def _latencies(rows: Sequence[ModelRow]) -> list[str]:
    lines = [
        [
            row.name,
            f"{measured.width} x {measured.height}",
            f"{measured.median_ms:.1f}",
            f"{measured.p90_ms:.1f}",
            f"{measured.memory_mib:.0f}",
            measured.device,
        ]
        for row in rows
        for measured in row.measurements
    ]
    header = ["model", "size", "median ms", "p90 ms", "MiB", "device"]
    return ["## Latency and memory", LATENCY, _table(header, lines)] if lines else []


def _parts_table(rows: Sequence[ModelRow]) -> str:
    parts = list(dict.fromkeys(part for row in rows for part in row.parts))
    lines = [[row.name, *(_part(row, part) for part in parts)] for row in rows]
    return _table(["model", *parts], lines)


def _part(row: ModelRow, part: str) -> str:
    if part not in row.parts:
        return ""
    return f"{row.parameters.all.get(part, 0) / MEGA:.2f} / {row.macs.products.get(part, 0) / GIGA:.1f}"


def _table(header: list[str], lines: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *lines])


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _difference(percent: float | None) -> str:
    return "" if percent is None else f"{percent:+.1f} %"
