"""What dead programs leave behind is removed by the next run, and what living ones write is not."""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from panoptic.io.files import write_atomically
from panoptic.io.working_folder import abandoned, remove_at_once, working_folder

_WRITING = """
import sys, time
from pathlib import Path
from panoptic.io.files import write_together
from panoptic.io.working_folder import remove_at_once, working_folder
with write_together() as results, working_folder():
    (results.folder(Path(sys.argv[1]) / "panoptic") / "1.png").write_bytes(b"half")
    results.write(Path(sys.argv[1]) / "panoptic.json", b"half")
    print("writing", flush=True)
    time.sleep(600)
"""
DAY = 24 * 60 * 60


@contextmanager
def _writing(out: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _WRITING, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, temporary: Path) -> None:
    out = tmp_path / "out"
    with _writing(out) as process:
        process.kill()
        process.wait()
    assert len(abandoned(out)) == len(abandoned(temporary)) == 1
    write_atomically(out / "metrics.json", b"{}")
    with working_folder():
        assert len(list(temporary.iterdir())) == 1
    assert [path.name for path in out.iterdir()] == ["metrics.json"]
    assert not list(temporary.iterdir())


def test_what_a_living_program_writes_stays(tmp_path: Path, temporary: Path) -> None:
    with _writing(tmp_path), _writing(tmp_path):
        write_atomically(tmp_path / "metrics.json", b"{}")
        assert not abandoned(tmp_path)
        assert len(list(tmp_path.glob(".*.partial"))) == 2
        assert len(list(temporary.iterdir())) == 2


def _left_over(folder: Path, host: str, with_lock: bool, age: float, process: int = os.getpid()) -> Path:
    path = folder / f".panoptic.{host}.x.{process}.partial"
    path.mkdir()
    written = path / ("lock" if with_lock else "1.png")
    written.touch()
    for changed in (written, path):
        os.utime(changed, (changed.stat().st_mtime - age,) * 2)
    return path


@pytest.mark.parametrize(
    ("is_from_here", "with_lock", "age", "removed"),
    [
        (True, True, 0, True),
        (True, False, 0, False),  # being made at this moment
        (True, False, 2 * DAY, True),  # by an earlier version
        (False, True, DAY / 2, False),  # its lock may not reach this machine
        (False, True, 2 * DAY, True),
        (False, False, 2 * DAY, False),
    ],
)
def test_without_a_lock_of_this_machine_age_decides(
    tmp_path: Path, is_from_here: bool, with_lock: bool, age: float, removed: bool
) -> None:
    path = _left_over(tmp_path, platform.node() if is_from_here else "elsewhere", with_lock, age)
    with working_folder(tmp_path):
        assert path.exists() is not removed


def test_what_a_program_left_before_it_had_the_lock_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    path = _left_over(tmp_path, platform.node(), with_lock=False, age=0, process=dead.pid)
    with working_folder(tmp_path):
        assert not path.exists()


def test_hidden_files_of_others_stay(tmp_path: Path) -> None:
    for name in (".big.bin.partial", "a.partial"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    with working_folder(tmp_path):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_is_removed_whole_or_not_at_all(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "part").mkdir(parents=True)
    for name in ("part.json", "part/one.png"):
        (state / name).touch()
    killed = (
        "import os; from pathlib import Path; from panoptic.io.working_folder import remove_at_once\n"
        f"os.unlink = lambda *_, **__: os._exit(9)\nremove_at_once(Path({str(state)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == 9
    assert not state.exists()
    assert len(list(tmp_path.iterdir())) == 1
    state.mkdir()
    remove_at_once(state)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_its_program_removes_meanwhile_is_not_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / f".panoptic.{platform.node()}.x.{os.getpid()}.partial"
    found.mkdir()
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: (_ for _ in [path.rmdir(), *path.iterdir()]))
    assert abandoned(tmp_path) == []
    assert not found.exists()
