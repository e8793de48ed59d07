"""Rows of a plan: a number, its unit and its origin; as a text table or as JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType


@dataclass(frozen=True)
class PlanRow:
    """One number of a plan; `unit` is one of `UNITS`, `how` explains the origin of the number."""

    section: str
    name: str
    value: float
    unit: str
    how: str = ""


def counted(number: int, noun: str, plural: str = "s") -> str:
    """Format a number with its noun: `1 process`, `2 processes`."""
    return f"{number} {noun}{'' if number == 1 else plural}"


def _bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.3g} kB" if value else "0"


def _seconds(value: float) -> str:
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if value >= 2 * size:
            return f"{value / size:.1f} {unit}"
    return f"{1000 * value:.3g} ms"


UNITS: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {"count": lambda value: f"{value:,.0f}".replace(",", " "), "bytes": _bytes, "seconds": _seconds}
)
"""Formats a number of each unit."""


def plan_table(rows: Sequence[PlanRow]) -> str:
    """Render the rows section by section."""
    cells = [(row.section, row.name, UNITS[row.unit](row.value), row.how) for row in rows]
    names = max((len(name) for _, name, _, _ in cells), default=0)
    values = max((len(value) for _, _, value, _ in cells), default=0)
    lines: list[str] = []
    for section, group in groupby(cells, key=lambda cell: cell[0]):
        lines += [section, *(f"  {name:<{names}}  {value:>{values}}   {how}".rstrip() for _, name, value, how in group)]
    return "\n".join(lines)


def to_json(rows: Sequence[PlanRow]) -> dict[str, dict[str, dict[str, object]]]:
    """Return the rows by section and name; seconds and bytes without rounding."""
    document: dict[str, dict[str, dict[str, object]]] = {}
    for row in rows:
        document.setdefault(row.section, {})[row.name] = {"value": row.value, "unit": row.unit, "how": row.how}
    return document
