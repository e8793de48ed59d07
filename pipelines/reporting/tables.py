"""Tables of scores, as text and Markdown."""

from collections.abc import Sequence

from tabulate import tabulate


def nested_value(content: object, key: str) -> object:
    """Return the value at `key` in nested sections, as in `pq.all`; None if there is none."""
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def text_table(table: Sequence[Sequence[str]]) -> str:
    """Format a table as plain text with aligned columns."""
    return tabulate(table, "firstrow", tablefmt="simple", disable_numparse=True)


def markdown_table(table: Sequence[Sequence[str]]) -> str:
    """Format a table as Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in table]
    return tabulate(cells, "firstrow", tablefmt="pipe", disable_numparse=True) + "\n"
