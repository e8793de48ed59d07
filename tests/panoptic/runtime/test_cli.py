"""A command ends with one line for wrong input, and with a traceback for errors of the program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from panoptic.runtime.cli import run_command


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
