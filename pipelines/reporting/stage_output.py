"""Send a stage's output to Prefect's log, and its progress bars to the terminal and to Prefect."""

import logging
import re
import sys
import time
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipelines.process.session import OutputLine

PROGRESS_SECONDS = 10.0
# As drawn by tqdm: `predict:  30%|###       | 45/150 [00:03<00:07, 15.1image/s]`.
_BAR = re.compile(r"(.*?) *\b(\d{1,3})%\|[^|]*\| *(.*)")

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class StageOutput:
    """Logs all lines of a stage with Prefect, except updates of a progress bar.

    Updates are drawn in place if standard error is a terminal and this stage runs alone; otherwise one is logged every
    ten seconds. At the same interval the run's progress artifact is set to the latest percentage.
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
                assert isinstance(created, UUID)  # a coroutine only inside a running event loop
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, text)
        except HTTPError as error:  # a stage must not fail because the server is briefly unreachable
            self._logger.warning("could not update the progress: %s", error)
