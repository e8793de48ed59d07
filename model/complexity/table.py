"""The rows as a page of Markdown."""

from collections.abc import Sequence

from model.complexity.rows import GIGA, MEGA, ModelRow

EXPLANATION = """Parameters in millions (M); multiply-adds of one picture in G, a product with its sum as one.
*Paper's count*: of parameters, the trained ones and those that the published files carry unused; of multiply-adds,
convolutions, linear layers, norms, ReLUs and pooling, at the size that the paper used.
*Full*: all convolutions and matrix products, attention included; *sampling*: what deformable attention adds to that.
Latency and memory: the network alone on one picture of {width} x {height}{device}."""


def markdown(rows: Sequence[ModelRow], latency_size: tuple[int, int]) -> str:
    """The table of models, the table of their parts, and the remarks."""
    devices = sorted({row.measurement.device for row in rows if row.measurement})
    width, height = latency_size
    device = f" ({', '.join(devices)})" if devices else ""
    explanation = EXPLANATION.format(width=width, height=height, device=device)
    remarks = [f"* `{row.name}`: {row.paper.remark}" for row in rows if row.paper and row.paper.remark]
    sections = [
        "# Complexity",
        explanation,
        models_table(rows),
        *(["\n".join(remarks)] if remarks else []),
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
    header += ["median ms", "p90 ms", "MiB"]
    return _table(header, [_line(row) for row in rows])


def _line(row: ModelRow) -> list[str]:
    paper, measured, size = row.paper, row.measurement, row.paper.size if row.paper else row.size
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
        _number(measured.median_ms if measured else None, 1),
        _number(measured.p90_ms if measured else None, 1),
        _number(measured.memory_mib if measured else None, 0),
    ]


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
