"""Every row of growing CSV files is logged once, also when a resumed training writes some again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.loggers.following import Row, follow, read_rows

LOSS = "step,learning_rate,total\n"


def test_rows_are_logged_once_in_the_order_of_steps(tmp_path: Path) -> None:
    written = [
        {},
        {"loss": f"{LOSS}2,0.1,5\n4,0.1,4\n"},
        {"quality": "step,all\n4,nan\n"},
        {},
        {"loss": f"{LOSS}2,0.1,5\n"},  # resumed from the state of step 2
        {"loss": f"{LOSS}2,0.1,5\n4,0.1,4\n6,0.1,3\n", "quality": "step,all\n4,nan\n6,50\n"},
    ]
    waiting = iter(written)
    logged: list[list[tuple[str, int]]] = []

    def ended() -> bool:
        files = next(waiting, None)
        for name, text in (files or {}).items():
            (tmp_path / f"{name}.csv").write_text(text)
        return files is None

    def log(rows: Sequence[Row]) -> None:
        logged.append([(row.table, row.step) for row in rows])

    assert follow(tmp_path, log, ended) == 5
    assert logged == [[("loss", 2), ("loss", 4)], [("quality", 4)], [("loss", 6), ("quality", 6)]]


def test_what_is_written_just_before_the_end_is_logged(tmp_path: Path) -> None:
    def ended() -> bool:
        (tmp_path / "loss.csv").write_text(f"{LOSS}1,0.1,2.5\n")
        return True

    logged: list[Row] = []
    assert follow(tmp_path, logged.extend, ended) == 1
    assert logged == [Row("loss", 1, {"loss/learning_rate": 0.1, "loss/total": 2.5})]


@pytest.mark.parametrize(
    "text",
    ["step,total\n1,x\n", "step,total\n1\n", "step,total\n1,2,3\n", "total\n1\n"],
)
def test_what_is_no_curve_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "loss.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"loss.csv: line 2 is no step with a number in every column"):
        list(read_rows(path))


def test_a_value_longer_than_any_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loss.csv"
    path.write_text(f"step,total\n1,{'1' * 200_000}\n")
    with pytest.raises(DatasetError, match=r"loss.csv: is no table"):
        list(read_rows(path))
