"""The rows as a Markdown page."""

from collections.abc import Sequence

from model.complexity.rows import GIGA, MEGA, ModelRow
from model.published.models import UNUSED_PARAMETERS
from panoptic.markdown import markdown_page, markdown_table

EXPLANATION = """Parameters in millions (M); multiply-adds of one image in G, a product and its sum counted once.
*Paper's count*: of parameters, the trained ones and those that are unused in the published files; of multiply-adds,
convolutions, linear layers, norms, ReLUs and pooling, at the size that the paper used.
*Full*: all convolutions and matrix products, attention included; *sampling*: what deformable attention adds to that."""
LATENCY = """The network alone, with random weights, on one image. Memory is the peak, weights included."""
_PAPERS_SIZE = 6  # column
PUBLISHED_FILES = """All parameters of the authors' files; ours lack the parts that nothing uses."""


def complexity_page(rows: Sequence[ModelRow]) -> str:
    """Render the table of models with remarks, published files, latencies, and the parts of all models."""
    remarks = [f"* `{row.name}`: {row.paper.remark}" for row in rows if row.paper and row.paper.remark]
    return markdown_page(
        "# Complexity",
        EXPLANATION,
        models_table(rows),
        "\n".join(remarks),
        *_published_files(rows),
        *_latencies(rows),
        "## By part",
        "M parameters / G of the full count without sampling, {} x {}.".format(*rows[0].size),
        _parts_table(rows),
    )


def models_table(rows: Sequence[ModelRow]) -> str:
    """Render one line per model."""
    return markdown_table(_header(rows[0]), [_line(row) for row in rows])


def narrow_tables(rows: Sequence[ModelRow]) -> str:
    """Render the table of models for a terminal, as two without the paper's size: parameters, then multiply-adds."""
    lines = [_header(rows[0]), *map(_line, rows)]
    parameters = [line[:_PAPERS_SIZE] for line in lines]
    multiply_adds = [line[:1] + line[_PAPERS_SIZE + 1 :] for line in lines]
    multiply_adds[0] = [name.replace(" x ", "x") for name in multiply_adds[0]]
    return "\n\n".join(markdown_table(head, body) for head, *body in (parameters, multiply_adds))


def _header(row: ModelRow) -> list[str]:
    width, height = row.size
    header = ["model", "M", "M trainable", "M paper's count", "M paper", "diff.", "paper's size"]
    return [*header, "G paper's count", "G paper", "diff.", f"G full, {width} x {height}", "G sampling"]


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
    """Render the exact parameters of the models whose checkpoints were published; nothing where there are none."""
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
    return ["## Parameters of the published files", PUBLISHED_FILES, markdown_table(header, lines)]


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
    return ["## Latency and memory", LATENCY, markdown_table(header, lines)] if lines else []


def _parts_table(rows: Sequence[ModelRow]) -> str:
    parts = list(dict.fromkeys(part for row in rows for part in row.parts))
    lines = [[row.name, *(_part(row, part) for part in parts)] for row in rows]
    return markdown_table(["model", *parts], lines)


def _part(row: ModelRow, part: str) -> str:
    if part not in row.parts:
        return ""
    return f"{row.parameters.all.get(part, 0) / MEGA:.2f} / {row.macs.products.get(part, 0) / GIGA:.1f}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _difference(percent: float | None) -> str:
    return "" if percent is None else f"{percent:+.1f} %"
