"""A command ends with one line for wrong input, and with a traceback for errors of the program."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from panoptic.runtime.cli import ENDING, run_command
from tests.stages.training_runs import commands, left, parent, until


def _fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("wrong"), OSError(28, "wrong")])
def test_wrong_input_ends_with_one_line_and_status_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: _fails(error))
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_programming_errors_and_requested_tracebacks_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        run_command(lambda: _fails(KeyError()))
    monkeypatch.setenv("TRACEBACK", "1")
    with pytest.raises(ValueError, match="wrong"):
        run_command(lambda: _fails(ValueError("wrong")))


WORK = """
import sys
from pathlib import Path
from panoptic.runtime.cli import run_command

def work():
    for number in range(20000):
        print("line", number)
    print("warning", file=sys.stderr)
    Path(sys.argv[1]).touch()

run_command(work)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_ends_early_does_not_stop_the_work(tmp_path: Path, unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-c", WORK, str(tmp_path / "done")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == "warning\n"
    assert process.returncode == 0
    assert (tmp_path / "done").exists()


SLOW = """
import sys, time
from pathlib import Path
from panoptic.io.files import replace_atomically
from panoptic.runtime.cli import run_command
from panoptic.runtime.parallel import map_ahead, worker_pool

folder = Path(sys.argv[1])

def write(name):
    with replace_atomically(folder / name) as partial:
        partial.write_text("half")
        (folder / f"begun-{name}").touch()
        time.sleep(600)

def work():
    with replace_atomically(folder / "result") as partial, worker_pool(int(sys.argv[2]), "test.workers") as pool:
        partial.write_text("half")
        list(map_ahead(pool, write, ["0", "1", "2", "3"], 4))

if __name__ == "__main__":
    run_command(work)
"""


def signalled(
    folder: Path, workers: int, numbers: list[int], worker: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Send signals to the group of a command in the middle of its work, or to one of its workers."""
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, str(folder / "slow.py"), str(folder), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == max(workers, 1), process)
        children = [
            pid for pid, words in commands() if parent(pid) == process.pid and "--multiprocessing-fork" in words
        ]
        for number in numbers:
            os.kill(children[0] if worker else -process.pid, number)
        output, errors = process.communicate(timeout=60)
    assert not left(folder)
    half = {path.name for path in folder.iterdir() if "partial" in path.name or path.name == "result"}
    assert len(half) == worker, "only a killed process cannot remove its file"
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@pytest.mark.parametrize(
    ("workers", "number"),
    [(0, signal.SIGINT), (0, signal.SIGTERM), (0, signal.SIGHUP), *((2, number) for number in ENDING)],
)
def test_a_signal_ends_a_command_and_its_workers_with_one_line(tmp_path: Path, workers: int, number: int) -> None:
    ended = signalled(tmp_path, workers, [number])
    assert ended.returncode == 128 + number
    name = signal.Signals(number).name
    assert ended.stderr == f"ended by {name}; repeat the command to resume, or to start again\n"


def test_a_killed_worker_is_said(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    ended = signalled(tmp_path, 2, [signal.SIGKILL], worker=True)
    assert ended.returncode == 2
    said = "error: a worker process has ended abruptly, perhaps out of memory: run again with a smaller test.workers"
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "module",
    [
        *("stages.train", "pipelines.summary", "panoptic.tools.check", "benchmarks.plan"),
        *(f"panoptic_segformer {name}" for name in ("check", "evaluate", "export", "plan", "results", "doctor")),
    ],
)
def test_ctrl_c_while_a_command_still_imports_is_one_line(tmp_path: Path, module: str) -> None:
    """The first import after the package's own is one that interrupts."""
    (tmp_path / "argparse.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-m", *module.split()], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (130, 1), ended.stderr
    assert ended.stderr.startswith("ended by SIGINT")


STREAMS = """
import os, sys, tempfile
from panoptic.runtime.cli import run_command

def work():
    with tempfile.TemporaryFile() as file:
        assert file.fileno() > 2, "what libraries write to the standard streams would get into this file"
    os.fstat(0), os.fstat(1), os.fstat(2)
    print(sys.stdin.read(), sys.stdout.isatty(), file=sys.stderr)
    sys.stderr.isatty()
    raise ValueError("wrong")

run_command(work)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_lead_nowhere(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", STREAMS], stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("lines", [1, 20000])
def test_output_that_does_not_fit_is_said(lines: int, unbuffered: str) -> None:
    code = f"from panoptic.runtime.cli import run_command; run_command(lambda: print(*['line'] * {lines}))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: could not write standard output: No space left on device; free disk space")


def test_lack_of_memory_is_wrong_input_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: _fails(MemoryError("Unable to allocate 2 GiB")))
    assert capsys.readouterr().err == "error: out of memory; Unable to allocate 2 GiB\n"


def test_lack_of_memory_is_known_in_the_words_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: print(torch.empty(1 << 50, dtype=torch.uint8)))
    assert "error: out of memory; " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: _fails(cv2.error("(-4:Insufficient memory) Failed to allocate 9 bytes\n")))
    assert capsys.readouterr().err == "error: out of memory; (-4:Insufficient memory) Failed to allocate 9 bytes\n"


def test_a_current_folder_that_was_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match="2"):
        run_command(lambda: _fails(AssertionError()))
    assert capsys.readouterr().err == "error: the current folder has been removed; change to another one\n"
