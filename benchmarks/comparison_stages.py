"""Stages of the pipeline as programs of their own, with a log each, ended when the comparison is."""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.processes import OutputLine, run_in_session


class StoppedError(Exception):
    """The comparison is being stopped."""


@dataclass(frozen=True)
class Stages:
    """Runs stages with so many threads each."""

    threads: int
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, name: str, options: Mapping[str, Path], folder: Path) -> list[str]:
        """Run a stage and return what it said, which also goes to a log in `folder`.

        Raises:
            CommandError: it failed; the message ends with what it last wrote.
            StoppedError: `stopped` was set.
        """
        command = [sys.executable, "-m", f"stages.{name}"]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        said: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.log").open("w", buffering=1) as log:

            def show(line: OutputLine) -> None:
                if self.stopped.is_set():
                    raise StoppedError
                if not line.transient:
                    said.append(line.text)
                    log.write(f"{line.text}\n")

            environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1"}
            run_in_session(command, show, Path(), environment)
        return said
