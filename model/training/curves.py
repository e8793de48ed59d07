"""Curves of loss and quality over the steps of a run, as CSV files that grow while it runs."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from panoptic.io.files import write_atomically

TABLES = ("loss", "quality")


class Curves:
    """Named tables of numbers, each kept as `<folder>/<name>.csv`; the first column is the step."""

    def __init__(self, folder: Path) -> None:
        """Write the tables to `folder`."""
        self.folder = folder
        self._tables: dict[str, str] = {}

    def add(self, table: str, step: int, values: Mapping[str, float]) -> None:
        """Append a row to `table` and rewrite its file, so that a reader never sees half a row."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if table not in self._tables:
            writer.writerow(["step", *values])
        writer.writerow([step, *(f"{value:.6g}" for value in values.values())])
        self._tables[table] = self._tables.get(table, "") + text.getvalue()
        self._write(table)

    def tables(self) -> dict[str, str]:
        """Return the text of every table by name."""
        return dict(self._tables)

    def restore(self, tables: Mapping[str, str]) -> None:
        """Continue from `tables`, dropping rows that were added after they were saved."""
        self._tables = dict(tables)
        for table in self._tables:
            self._write(table)

    def _write(self, table: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"{table}.csv", self._tables[table].encode())


def curve_issues(tables: object, step: int) -> Iterator[str]:
    """Yield what is wrong with saved tables: rows of numbers for steps up to `step`, in a file inside the folder."""
    if not isinstance(tables, dict) or not all(isinstance(text, str) for text in tables.values()):
        yield "its curves are not texts by name"
        return
    for name, text in tables.items():
        try:
            rows = list(csv.reader(io.StringIO(text)))
            steps = [int(row[0]) for row in rows[1:]]
            sound = rows[0][0] == "step" and all(len(list(map(float, row))) == len(rows[0]) for row in rows[1:])
        except (ValueError, IndexError, csv.Error):
            steps, sound = [], False
        if name not in TABLES or not sound or not _ascend([0, *steps, step]):
            yield f"its curve {name!r:.60} is not a table of numbers for ascending steps up to {step}"


def _ascend(steps: Sequence[int]) -> bool:
    return all(earlier <= later for earlier, later in pairwise(steps))
