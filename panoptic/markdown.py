"""Markdown tables and pages."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from panoptic.io.printable import printable


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str | None]], labels: int = 1) -> str:
    """Align the first `labels` columns to the left and the numbers after them to the right; None is an empty cell."""
    align = ["left" if column < labels else "right" for column in range(len(header))]
    cells = [["" if cell is None else printable(cell).replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(cells, header, tablefmt="pipe", colalign=align, disable_numparse=True)


def markdown_page(*blocks: str) -> str:
    """Separate titles, paragraphs and tables by blank lines, and leave out the empty ones."""
    return "\n\n".join(filter(None, blocks)) + "\n"
