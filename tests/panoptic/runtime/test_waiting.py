"""Threads of a busy machine sleep while they wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.busy import busy
from panoptic.runtime import waiting

CHOSEN = "import os, stages; print(os.environ['GOMP_SPINCOUNT'])"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the system's load, which is quiet until it is written."""
    file = tmp_path / "loadavg"
    file.write_text("0.10 0.20 0.30 1/99 1234\n")
    monkeypatch.setattr(waiting, "LOAD", file)
    monkeypatch.setattr(waiting, "PAUSE", 0.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 3})
    for name in ("OMP_NUM_THREADS", waiting.VARIABLE):  # set first, so that what is set meanwhile is undone
        monkeypatch.setenv(name, "1")
        monkeypatch.delenv(name)
    return file


@pytest.mark.parametrize(
    ("running", "threads", "expected"),
    [
        (1, None, "3000"),  # this process alone
        (2, None, "0"),  # one core is missing
        (3, "2", "3000"),
        (4, "2", "0"),
        (4, "2,1", "0"),  # of nested levels
        (9, "1", "3000"),  # a thread alone waits for none
        (2, "many", "0"),
    ],
)
def test_threads_sleep_where_cores_are_missing(
    running: int, threads: str | None, expected: str, load: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load.write_text(f"0.10 0.20 0.30 {running}/99 1234\n")
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    waiting.choose_waiting()
    assert os.environ[waiting.VARIABLE] == expected


@pytest.mark.parametrize("text", [None, "", "0.10 0.20 0.30 none\n"])
def test_an_unknown_load_counts_as_none(text: str | None, load: Path) -> None:
    load.unlink() if text is None else load.write_text(text)
    assert not waiting.is_busy()


def test_what_is_set_stays(load: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load.write_text("9 9 9 9/99 1\n")
    monkeypatch.setenv(waiting.VARIABLE, "77")
    waiting.choose_waiting()
    assert os.environ[waiting.VARIABLE] == "77"


@pytest.mark.skipif(not waiting.LOAD.exists(), reason="the system does not tell its load")
def test_a_stage_beside_computing_programs_chooses_sleep() -> None:
    cores = len(os.sched_getaffinity(0))
    environment = {name: value for name, value in os.environ.items() if name != waiting.VARIABLE}
    with busy(cores):
        done = subprocess.run(
            [sys.executable, "-c", CHOSEN],
            env=environment | {"OMP_NUM_THREADS": str(cores)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == ("0\n" if cores > 1 else "3000\n")
