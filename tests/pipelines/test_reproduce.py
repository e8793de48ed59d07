"""The flow on a real DVC project: order, output, failures, a timeout, signals."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.process.session import CommandError
from pipelines.reproduce import reproduce
from tests.pipelines.services import in_project

needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc, which Linux has")


class _Messages(logging.Handler):
    """Collects log messages."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def logged(prefect: None) -> Iterator[list[str]]:
    """The messages in Prefect's log."""
    messages = _Messages()
    logger = logging.getLogger("prefect")
    logger.addHandler(messages)
    yield messages.texts
    logger.removeHandler(messages)


def test_stages_run_in_order_with_the_given_settings_and_log_their_output(project: Path, logged: list[str]) -> None:
    (project / "own.yaml").write_text("zero: {rate: 7, name: overridden}\n")
    reproduce(["alpha", "zero", "middle"], {"zero.rate": "0.25"}, [Path("own.yaml")], folder=project)
    assert (project / "ran").read_text().split() == ["zero", "middle", "alpha"]
    assert "rate: 0.25" in (project / "third").read_text()
    assert "name: overridden" in (project / "third").read_text()
    assert "zero.name: x -> overridden" in logged
    shown = [text for text in logged if text.startswith("text of")]
    assert shown == ["text of zero", "text of middle", "text of alpha"]


def test_a_failing_stage_fails_the_flow_with_its_last_output(project: Path, logged: list[str]) -> None:
    with pytest.raises(CommandError, match="the disk is on fire"):
        reproduce(["zero", "broken", "after_broken"], folder=project)
    assert (project / "ran").read_text().split() == ["zero"]
    assert any("Finished in state Failed" in text for text in logged)


@pytest.mark.usefixtures("prefect")
def test_only_the_download_is_retried(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.reproduce.RETRY_SECONDS", 0)
    with (project / "dvc.yaml").open("a") as stages:
        for stage in ("download", "fragile"):  # they fail the first time
            stages.write(f"  {stage}:\n    cmd: echo {stage} >> tried && test $(grep -c {stage} tried) = 2\n")
    reproduce(["download"], folder=project)
    with pytest.raises(CommandError, match="fragile"):
        reproduce(["fragile"], folder=project)
    assert (project / "tried").read_text().split() == ["download", "download", "fragile"]


@pytest.mark.usefixtures("prefect")
def test_a_download_that_says_why_it_cannot_is_not_repeated(project: Path) -> None:
    with (project / "dvc.yaml").open("a") as stages:
        stages.write("  download:\n    cmd: echo download >> tried && exit 2\n")
    with pytest.raises(CommandError, match="exited with 2"):
        reproduce(["download"], folder=project)  # after a minute, if it waits to try again
    assert (project / "tried").read_text().split() == ["download"]


@pytest.mark.usefixtures("prefect")
def test_a_stage_whose_input_another_one_has_yet_to_write_is_refused_at_once(project: Path) -> None:
    with (project / "dvc.yaml").open("a") as stages:
        stages.write("  first:\n    cmd: mkdir made && touch made/a\n    outs: [made: {push: false}]\n")
        stages.write("  second:\n    cmd: cat made/a\n    deps: [made/a]\n")
    with pytest.raises(ValueError, match="stage second reads made/a, which stage first writes; run that first"):
        reproduce(["zero", "second"], folder=project)
    assert not (project / "ran").exists()
    reproduce(["first", "second"], folder=project)
    reproduce(["second"], folder=project)


@pytest.mark.usefixtures("prefect")
def test_nothing_runs_and_nothing_is_written_if_settings_are_refused(project: Path) -> None:
    (project / "experiments").mkdir()
    (project / "experiments" / "seven.yaml").write_text("zero: {rate: 7}\n")
    (project / "stages").mkdir()
    (project / "stages" / "__init__.py").touch()
    (project / "stages" / "check_settings.py").write_text("import sys\nsys.exit('7 is too much')\n")
    before = (project / "params.yaml").read_text()
    with pytest.raises(ValueError, match="7 is too much"):
        reproduce(["zero"], experiment="seven", folder=project)
    with pytest.raises(ValueError, match=r"sevn\.yaml: no such file; in the same folder: seven\.yaml"):
        reproduce(["zero"], experiment="sevn", folder=project)
    assert (project / "params.yaml").read_text() == before
    assert not (project / "ran").exists()


@pytest.mark.usefixtures("prefect")
def test_a_stage_that_takes_too_long_is_ended_with_all_its_processes(
    project: Path, nobody_holds: Callable[[], bool]
) -> None:
    (project / "lock").touch()  # in case the stage has not started on a very slow machine
    with pytest.raises(TimeoutError):
        reproduce(["hold"], stage_timeout_seconds=4.0, folder=project)
    assert nobody_holds()


def signal_while_holding(command: list[str], project: Path, environment: dict[str, str], number: int) -> str:
    """Send a signal to a command once its stage hangs, and return all output until the last process is gone."""
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            output.append(line)
            if "holding" in line:
                process.send_signal(number)
                break
        output += process.stdout
    expected = -number if number == signal.SIGKILL else 128 + number
    assert process.returncode == expected, "".join(output)
    return "".join(output)


def test_the_command_needs_no_server_and_a_signal_ends_everything(
    project: Path, alone: dict[str, str], nobody_holds: Callable[[], bool]
) -> None:
    command = [sys.executable, "-m", "pipelines.reproduce", "--stages", "hold", "--set", "zero.rate=0.25"]
    output = signal_while_holding(command, project, alone, signal.SIGTERM)
    assert "Stopping temporary server" in output
    assert nobody_holds()


@pytest.mark.slow
@needs_proc
def test_a_killed_command_leaves_no_process_and_the_next_one_resumes(
    project: Path, alone: dict[str, str], nobody_holds: Callable[[], bool]
) -> None:
    (project / "wait").touch()
    command = [sys.executable, "-m", "pipelines.reproduce", "--stages", "zero", "count"]
    signal_while_holding(command, project, alone, signal.SIGKILL)
    while in_project(project):  # Prefect's temporary server too
        time.sleep(0.05)
    assert nobody_holds()

    (project / "wait").unlink()
    again = subprocess.run(command, cwd=project, env=alone, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (project / "counted").read_text() == "3"
    assert "counted 3" in again.stdout + again.stderr
    assert "counted 2" not in again.stdout + again.stderr, "it resumed from its state"
    assert (project / "ran").read_text().split() == ["zero"], "finished stages are not run again"
    assert not in_project(project)
