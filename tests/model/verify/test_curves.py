"""Curves that are damaged are told as such, whatever their damage."""

import os
from pathlib import Path

import pytest

from model.verify.check import last_row
from panoptic.io.errors import DatasetError


def test_the_last_row_counts_and_nothing_is_nan(tmp_path: Path) -> None:
    curve = tmp_path / "quality.csv"
    curve.write_text("step,all,things\n3,1,2\n6,1.5,\n")
    row = last_row(curve)
    assert (row["step"], row["all"]) == (6, 1.5)
    assert row["things"] != row["things"]


@pytest.mark.parametrize(
    "content",
    [b"", b"step,all\n", b"all\n1\n", b"step\nx\n", b"step\ninf\n", b"step,all\n1\n2,1,3\n", b"\xff\xfe", b"step\n\0"],
)
def test_damage_is_said(content: bytes, tmp_path: Path) -> None:
    curve = tmp_path / "loss.csv"
    curve.write_bytes(content)
    with pytest.raises(DatasetError, match=r"loss\.csv: .*; (copy|save)"):
        last_row(curve)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    curve = tmp_path / "loss.csv"
    os.mkfifo(curve)
    with pytest.raises(DatasetError, match="is a named pipe"):
        last_row(curve)
