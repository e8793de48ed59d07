"""The tables and figures of both papers, with every number that they print, as they print it.

Version 1 is arXiv 2109.03814v1, version 2 CVPR 2022. `v2.T7` is table 7 of version 2, `v2.F4` its figure 4, `v2.A` its
appendix. A CSV file in tables/ holds the rows of a table; contents.csv lists all tables and figures, those without
numbers as well. Where the papers contradict themselves, the row has a remark.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from panoptic.io.reading import read_text

Status: TypeAlias = Literal["available", "figure", "illustration", "not available"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""Numbers are available; a figure without numbers; an illustration, of which nothing is to be measured; not at hand."""
FOLDER = Path(__file__).parent / "tables"
_KINDS: Mapping[str, str] = MappingProxyType({"T": "table", "F": "figure"})
_UNITS: Mapping[str, str] = MappingProxyType({"parameters": "M", "FLOPs": "G", "FPS": "images/s", "memory": "MB"})
_ABOUT_THE_ROW = ("system", "method", "backbone", "epochs", "origin", "remark")


@dataclass(frozen=True)
class Column:
    """A column of numbers: those of quality are in percent."""

    name: str
    unit: str


@dataclass(frozen=True)
class PaperRow:
    """One row.

    Attributes:
        system: the same in every table that reports the network, merged in the same way.
        method: as printed, without citations.
        epochs: as printed; empty where the table has none.
        is_own: of the paper's own method, not of another work.
        remark: what the table says besides, or where the papers contradict themselves.
        cells: by column; None for a dash.
    """

    system: str
    method: str
    backbone: str
    epochs: str
    is_own: bool
    remark: str
    cells: Mapping[str, float | None]


@dataclass(frozen=True)
class PaperTable:
    """A table or figure; without columns and rows where it has no numbers.

    Attributes:
        data: what its numbers were measured on; empty if on no images.
    """

    key: str
    title: str
    data: str
    status: Status
    remark: str
    columns: tuple[Column, ...] = ()
    rows: tuple[PaperRow, ...] = ()

    def row(self, system: str) -> PaperRow:
        """Return the row of a system. Raises `KeyError` if there is none."""
        for row in self.rows:
            if row.system == system:
                return row
        raise KeyError(f"{self.key}: no row of {system}")


@cache
def paper_tables() -> Mapping[str, PaperTable]:
    """Return the tables and figures of both papers, in their order."""
    return MappingProxyType({entry["key"]: _table(entry) for entry in _lines(FOLDER / "contents.csv")})


def printed(key: str, system: str, column: str) -> float:
    """Return a number of a table, such as the PQ of `v2_r50` in `v2.T1`. Raises `KeyError` if there is none."""
    value = paper_tables()[key].row(system).cells[column]
    if value is None:
        raise KeyError(f"{key}: a dash for {column} of {system}")
    return value


def _table(entry: Mapping[str, str]) -> PaperTable:
    (status,) = (status for status in STATUSES if status == entry["status"])
    table = PaperTable(entry["key"], entry["title"], entry["data"], status, entry["remark"])
    if status != "available":
        return table
    version, item = table.key.split(".")
    lines = list(_lines(FOLDER / f"{version}_{_KINDS[item[0]]}_{item[1:]}.csv"))
    columns = tuple(Column(name, _UNITS.get(name, "%")) for name in lines[0] if name not in _ABOUT_THE_ROW)
    rows = tuple(_row(line, columns) for line in lines)
    return PaperTable(table.key, table.title, table.data, status, table.remark, columns, rows)


def _row(line: Mapping[str, str], columns: tuple[Column, ...]) -> PaperRow:
    cells = {column.name: float(text) if (text := line[column.name]) else None for column in columns}
    return PaperRow(
        line["system"],
        line["method"],
        line["backbone"],
        line["epochs"],
        line["origin"] == "own",
        line["remark"],
        MappingProxyType(cells),
    )


def _lines(path: Path) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(read_text(path).splitlines(), strict=True)
