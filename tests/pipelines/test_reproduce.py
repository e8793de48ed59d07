"""The flow on a real DVC project: order, output, failure, a timeout, a signal."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.processes import CommandError
from pipelines.reproduce import reproduce

ROOT = Path(__file__).parents[2]


class _Messages(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def said(prefect: None) -> Iterator[list[str]]:
    """The messages that reach Prefect's log."""
    messages = _Messages()
    logger = logging.getLogger("prefect")
    logger.addHandler(messages)
    yield messages.texts
    logger.removeHandler(messages)


def test_stages_run_in_order_with_the_given_settings_and_their_output_is_logged(project: Path, said: list[str]) -> None:
    (project / "overlay.yaml").write_text("zero: {rate: 7, name: laid over}\n")
    reproduce(["alpha", "zero", "middle"], {"zero.rate": "0.25"}, [Path("overlay.yaml")], folder=project)
    assert (project / "ran").read_text().split() == ["zero", "middle", "alpha"]
    assert "rate: 0.25" in (project / "third").read_text()
    assert "name: laid over" in (project / "third").read_text()
    assert "zero.name: x -> laid over" in said
    output = [text for text in said if text.startswith("text of")]
    assert output == ["text of zero", "text of middle", "text of alpha"]


def test_a_failing_stage_fails_the_flow_with_its_last_words(project: Path, said: list[str]) -> None:
    with pytest.raises(CommandError, match="the disk is on fire"):
        reproduce(["zero", "broken", "after_broken"], folder=project)
    assert (project / "ran").read_text().split() == ["zero"]
    assert any("Finished in state Failed" in text for text in said)


@pytest.mark.usefixtures("prefect")
def test_nothing_runs_and_nothing_is_written_with_settings_that_are_refused(project: Path) -> None:
    (project / "experiments").mkdir()
    (project / "experiments" / "seven.yaml").write_text("zero: {rate: 7}\n")
    (project / "stages").mkdir()
    (project / "stages" / "check_settings.py").write_text("import sys\nsys.exit('7 is too much')\n")
    before = (project / "params.yaml").read_text()
    with pytest.raises(ValueError, match="7 is too much"):
        reproduce(["zero"], experiment="seven", folder=project)
    with pytest.raises(ValueError, match=r"sevn\.yaml: there is no such file; beside it: seven\.yaml"):
        reproduce(["zero"], experiment="sevn", folder=project)
    assert (project / "params.yaml").read_text() == before
    assert not (project / "ran").exists()


@pytest.mark.usefixtures("prefect")
def test_a_stage_that_takes_too_long_is_ended_with_all_its_processes(
    project: Path, nobody_holds: Callable[[], bool]
) -> None:
    (project / "lock").touch()  # on a machine so slow that the stage has not begun
    with pytest.raises(TimeoutError):
        reproduce(["hold"], stage_timeout_seconds=4.0, folder=project)
    assert nobody_holds()


def test_the_command_needs_no_server_and_a_signal_ends_everything(
    project: Path, nobody_holds: Callable[[], bool]
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(project / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "pipelines.reproduce", "--stages", "hold", "--set", "zero.rate=0.25"]
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        before = []
        for line in process.stdout:
            before.append(line)
            if "holding" in line:
                process.send_signal(signal.SIGTERM)
                break
        after = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM, "".join([*before, after])
    assert "Stopping temporary server" in after
    assert nobody_holds()
