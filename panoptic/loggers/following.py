"""Following the curves that a training writes as CSV files, row by row."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.reading import read_text
from panoptic.runtime.fingerprint import file_signature

TABLES = ("loss", "quality")


@dataclass(frozen=True)
class Row:
    """A row of a curve: values at a step, by names such as `loss/total`."""

    table: str
    step: int
    values: Mapping[str, float]


def follow(curves: Path, log: Callable[[Sequence[Row]], None], ended: Callable[[], bool]) -> int:
    """Pass every row of the curves in a folder to `log`, once, until `ended`; return their number.

    `ended` waits a moment if the training goes on. A resumed training writes rows again that it had written before it
    was stopped; these are equal, and known already.
    """
    seen: set[tuple[str, int]] = set()
    states: dict[str, object] = {}
    while True:
        is_last = ended()  # before reading: what is written until the end is read after it
        new = []
        for table in TABLES:
            path = curves / f"{table}.csv"
            if (state := file_signature(path)) != states.get(table, {}):
                states[table] = state
                new += [row for row in read_rows(path) if (row.table, row.step) not in seen]
        if new:
            log(sorted(new, key=lambda row: row.step))
            seen |= {(row.table, row.step) for row in new}
        if is_last:
            return len(seen)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a curve. Raises `DatasetError` if the file is none."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:  # of values longer than any number
        raise DatasetError(f"{path}: is no table ({error}); give the curves of a training") from None
    for number, row in enumerate(rows, 2):
        try:
            step = int(row.pop("step"))
            values = {f"{path.stem}/{name}": float(value) for name, value in row.items()}
        except (KeyError, TypeError, ValueError):
            raise DatasetError(
                f"{path}: line {number} is no step with a number in every column; give the curves of a training"
            ) from None
        yield Row(path.stem, step, values)
