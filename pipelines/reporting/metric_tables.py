"""Arrange the numbers of a metrics file in tables, whatever their names.

The numbers of one section form a row, and rows that share a column form a table:
`{"pq": {"all": 0.7, "things": 0.6}, "rq": {"all": 0.9, "things": 0.8}, "miou": 0.5}` gives a table of two rows with the
columns `all` and `things`, and one with the row `miou`.
"""

import math
from collections.abc import Iterator, KeysView, Mapping

Cell = str | float | None
Row = dict[str, Cell]

NAME = "metric"
VALUE = "value"
_DIGITS = 6


def metric_tables(content: Mapping[str, object]) -> list[list[Row]]:
    """Return the non-empty tables of a document; each row has its name first, then all columns of its table."""
    tables: list[dict[str, dict[str, float]]] = []
    for name, numbers in _rows(content, ""):
        table = next((table for table in tables if _columns(table) & numbers.keys()), None)
        if table is None:
            table = {}
            tables.append(table)
        table[name] = numbers
    return [
        [{NAME: name} | {column: numbers.get(column) for column in _columns(table)} for name, numbers in table.items()]
        for table in tables
    ]


def _columns(table: Mapping[str, Mapping[str, float]]) -> KeysView[str]:
    return dict.fromkeys(column for numbers in table.values() for column in numbers).keys()


def _rows(section: Mapping[str, object], path: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the name and numbers of every section; each number at the top level is a row of its own."""
    numbers = {name: number for name, value in section.items() if (number := _number(value)) is not None}
    if path and numbers:
        yield path, numbers
    for name, value in section.items():
        if not path and name in numbers:
            yield name, {VALUE: numbers[name]}
        elif isinstance(value, Mapping):
            yield from _rows(value, f"{path}.{name}" if path else name)


def _number(value: object) -> float | None:
    """Round a finite number to six digits, and keep integers as they are; return None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
