"""Where the lines of a stage go: to Prefect's log, and the states of its progress bars where they can be seen."""

import logging
import sys
import time

from pipelines.processes import OutputLine

PROGRESS_SECONDS = 10.0

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class StageOutput:
    """All lines go to Prefect's log, except the states of a progress bar.

    These are drawn in place where standard error is a terminal and this stage runs alone; elsewhere the log gets one
    every ten seconds.
    """

    def __init__(self, logger: Logger, alone: bool = True) -> None:
        self._logger = logger
        self._draws = alone and sys.stderr.isatty()
        self._progress_due = 0.0

    def show(self, line: OutputLine) -> None:
        """Log or draw one line."""
        if self._draws:
            sys.stderr.write(f"\r{line.text if line.transient else ''}\x1b[K")
            sys.stderr.flush()
        if not line.transient:
            self._logger.info(line.text)
        elif not self._draws and time.monotonic() >= self._progress_due:
            self._logger.info(line.text)
            self._progress_due = time.monotonic() + PROGRESS_SECONDS
