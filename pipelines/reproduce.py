"""The whole pipeline as one Prefect flow: a task for every stage of dvc.yaml, in the order of its graph.

    python -m pipelines.reproduce
    python -m pipelines.reproduce --stages train predict evaluate --set train.learning_rate=5e-4
    python -m pipelines.reproduce --overlay experiments/ablations/box_free.yaml

DVC decides what is out of date; the flow decides when it runs, and shows it. No Prefect server is needed:
without one, Prefect starts its own on 127.0.0.1 for as long as the flow runs.
"""

import argparse
import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from prefect import flow, get_run_logger, task

from pipelines.processes import CommandError, OutputLine
from pipelines.project import DvcProject

PROGRESS_SECONDS = 10.0

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class StageOutput:
    """Where the lines of a stage go: all to Prefect's log, except the states of a progress bar.

    These are drawn in place where standard error is a terminal; elsewhere the log gets one every ten seconds.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._on_terminal = sys.stderr.isatty()
        self._progress_due = 0.0

    def show(self, line: OutputLine) -> None:
        """Log or draw one line."""
        if self._on_terminal:
            sys.stderr.write(f"\r{line.text if line.transient else ''}\x1b[K")
            sys.stderr.flush()
        if not line.transient:
            self._logger.info(line.text)
        elif not self._on_terminal and time.monotonic() >= self._progress_due:
            self._logger.info(line.text)
            self._progress_due = time.monotonic() + PROGRESS_SECONDS


@task(task_run_name="{stage}")
def run_stage(stage: str, folder: Path) -> None:
    """Bring one stage up to date. Fails with the stage's last words; leaves none of its processes behind."""
    DvcProject(folder).reproduce(stage, StageOutput(get_run_logger()).show)


@flow(log_prints=True)
def reproduce(
    stages: list[str] | None = None,
    settings: dict[str, str] | None = None,
    overlays: list[Path] | None = None,
    stage_timeout_seconds: float | None = None,
    folder: Path = Path(),
) -> None:
    """Bring the pipeline in `folder` up to date, or the given stages of it.

    `overlays` (files in experiments/) and then `settings` (`{"train.learning_rate": "5e-4"}`) are written into
    params.yaml first, and stay there. The first stage that fails, or that takes longer than
    `stage_timeout_seconds`, fails the flow.
    """
    project = DvcProject(folder)
    chosen = project.stages() if stages is None else project.choose(stages)
    if overlays:
        for change in project.lay_over(overlays):
            print(change)
    if settings:
        project.set_parameters(settings)
    for stage in chosen:
        run_stage.with_options(timeout_seconds=stage_timeout_seconds)(stage, folder)


def main() -> int:
    """The command line; the exit status is 0 when everything asked for is up to date."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", metavar="NAME", help="only these stages of dvc.yaml (default: all)")
    parser.add_argument(
        "--set",
        nargs="+",
        type=_setting,
        default=[],
        metavar="KEY=VALUE",
        help="settings to write into params.yaml",
    )
    parser.add_argument(
        "--overlay", nargs="+", type=Path, default=[], metavar="FILE", help="files to lay over params.yaml first"
    )
    parser.add_argument("--stage-timeout", type=float, metavar="SECONDS", help="give up on a stage after this long")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        reproduce(arguments.stages, dict(arguments.set), arguments.overlay, arguments.stage_timeout)
    except (CommandError, ValueError, TimeoutError):
        return 1  # Prefect's log has told the reason
    return 0


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE, as in train.learning_rate=5e-4")
    return key, value


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End in good order, so that Prefect's temporary server is stopped as well."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
