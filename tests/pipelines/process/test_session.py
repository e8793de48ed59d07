"""Output arrives while a command runs, and no process of the command outlives the call."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.process import guard, session
from pipelines.process.session import TAIL_LINES, CommandError, OutputLine, end_all, failure, run_in_session
from tests.pipelines.conftest import HOLD


def run(program: str, folder: Path, show: Callable[[OutputLine], None], grace_seconds: float = 10.0) -> None:
    run_in_session([sys.executable, "-u", "-c", program], show, folder, os.environ, grace_seconds)


def test_a_line_is_shown_while_the_command_still_runs(tmp_path: Path) -> None:
    program = """
import pathlib, sys, time
print("first")
for _ in range(600):
    if pathlib.Path("seen").exists():
        sys.exit(0)
    time.sleep(0.05)
sys.exit("nobody saw the first line in 30 s")
"""
    run(program, tmp_path, lambda line: (tmp_path / line.text).with_name("seen").touch())


def test_a_command_may_close_its_output_and_continue(tmp_path: Path) -> None:
    program = "import os, pathlib, time\nos.close(1)\nos.close(2)\ntime.sleep(0.3)\npathlib.Path('done').touch()"
    run(program, tmp_path, lambda line: None)
    assert (tmp_path / "done").exists()


def test_lines_do_not_depend_on_how_writes_are_split(tmp_path: Path) -> None:
    program = r"""
import os
for byte in "one\r\ntwö\n\n 50%\r100%\r\nlast".encode():
    os.write(1 + byte % 2, bytes([byte]))
"""
    lines: list[OutputLine] = []
    run(program, tmp_path, lines.append)
    assert lines == [
        OutputLine("one", transient=False),
        OutputLine("twö", transient=False),
        OutputLine(" 50%", transient=True),
        OutputLine("100%", transient=False),
        OutputLine("last", transient=False),
    ]


def test_a_failure_reports_status_and_last_lines(tmp_path: Path) -> None:
    program = f"for i in range({TAIL_LINES} + 1): print('line', i)\nraise SystemExit(7)"
    with pytest.raises(CommandError, match="ended with status 7") as caught:
        run(program, tmp_path, lambda line: None)
    assert str(caught.value).partition("its last output:\n")[2].splitlines() == [
        f"  line {i}" for i in range(1, TAIL_LINES + 1)
    ]


def test_an_exception_ends_the_command_and_its_children(tmp_path: Path, nobody_holds: Callable[[], bool]) -> None:
    def interrupt(line: OutputLine) -> None:
        assert not nobody_holds()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(HOLD, tmp_path, interrupt)
    assert nobody_holds()


def test_a_command_that_ignores_sigterm_is_killed(tmp_path: Path, nobody_holds: Callable[[], bool]) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HOLD

    def give_up(line: OutputLine) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        run(deaf, tmp_path, give_up, grace_seconds=0.3)
    assert nobody_holds()


def test_a_child_left_behind_is_ended(tmp_path: Path, nobody_holds: Callable[[], bool]) -> None:
    lines: list[OutputLine] = []
    run(HOLD.removesuffix("time.sleep(600)\n"), tmp_path, lines.append)
    assert [line.text for line in lines] == ["holding"]
    assert nobody_holds()


def test_the_command_does_not_outlive_a_killed_caller(tmp_path: Path, nobody_holds: Callable[[], bool]) -> None:
    caller = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from pipelines.process.session import run_in_session
run_in_session([sys.executable, "-u", "-c", {HOLD!r}], lambda line: os.kill(os.getpid(), 9), Path(), os.environ, 0.3)
"""
    killed = subprocess.run([sys.executable, "-c", caller], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits until the last process that holds it is gone


def test_all_commands_can_be_ended_from_another_thread(
    tmp_path: Path, nobody_holds: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_ending", threading.Event())
    failures: list[CommandError] = []

    def work() -> None:
        try:
            run(HOLD, tmp_path, lambda line: end_all())
        except CommandError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "ended with status 143" in str(failures[0])
    assert nobody_holds()
    with pytest.raises(CommandError, match="ended with status"):  # later commands do not run either
        run("import time; time.sleep(600)", tmp_path, lambda line: None)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_guard_ends_with_a_parent_that_does_not_know_about_guards(tmp_path: Path, ending: int) -> None:
    """Send SIGTERM to the guard, as a Prefect worker does to cancel, or SIGKILL to its parent."""
    parent = f"""
import subprocess, sys
command = [sys.executable, {guard.__file__!r}, "--as-child", "--leader-first", "1", sys.executable, "-c", {HOLD!r}]
guard = subprocess.Popen(command)
print(guard.pid, flush=True)
sys.exit(guard.wait())
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=tmp_path, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "holding\n"
        os.kill(process.pid if ending == signal.SIGKILL else pid, ending)
    assert process.returncode == (-signal.SIGKILL if ending == signal.SIGKILL else 128 + signal.SIGTERM)
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits until the last process that holds it is gone


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no-such-program: cannot be started: No such file"):
        run_in_session(["no-such-program"], lambda line: None, tmp_path, os.environ)


@pytest.mark.parametrize("output", ["", "\n \n"])
def test_no_reason_is_ever_empty(output: str) -> None:
    said = failure(("dvc", "pull", "a b"), 3, output)
    assert said == "`dvc pull 'a b'` ended with status 3, without a message"
    lines = failure(("git", "log"), 128, "".join(f"line {number}\n\n" for number in range(100))).splitlines()
    last = [f"line {number}" for number in range(60, 100)]
    assert lines == ["`git log` ended with status 128; its last output:", *last]
