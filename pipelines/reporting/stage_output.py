"""Where the lines of a stage go: to Prefect's log, and the states of its progress bars where they can be seen."""

import logging
import re
import sys
import time
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipelines.process.run import OutputLine

PROGRESS_SECONDS = 10.0
# As tqdm draws it: `predict:  30%|###       | 45/150 [00:03<00:07, 15.1image/s]`.
_BAR = re.compile(r"(.*?) *\b(\d{1,3})%\|[^|]*\| *(.*)")

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class StageOutput:
    """All lines go to Prefect's log, except the states of a progress bar.

    These are drawn in place where standard error is a terminal and this stage runs alone; elsewhere the log gets one
    every ten seconds. As often the run's progress artifact gets the percentage of the bar that was drawn last.
    """

    def __init__(self, logger: Logger, alone: bool = True) -> None:
        self._logger = logger
        self._draws = alone and sys.stderr.isatty()
        self._progress_due = 0.0
        self._artifact: UUID | None = None

    def show(self, line: OutputLine) -> None:
        """Log or draw one line."""
        if self._draws:
            sys.stderr.write(f"\r{line.text if line.transient else ''}\x1b[K")
            sys.stderr.flush()
        if line.transient:
            if time.monotonic() < self._progress_due:
                return
            self._progress_due = time.monotonic() + PROGRESS_SECONDS
        if not (line.transient and self._draws):
            self._logger.info(line.text)
        if bar := _BAR.fullmatch(line.text):
            self._publish(float(bar[2]), f"{bar[1]} {bar[3]}".strip())

    def _publish(self, percent: float, text: str) -> None:
        try:
            if self._artifact is None:
                created = create_progress_artifact(percent, description=text)
                assert isinstance(created, UUID)  # a coroutine only where an event loop runs
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, text)
        except HTTPError as error:  # a stage does not end because the server is away for a while
            self._logger.warning("the progress could not be shown: %s", error)
