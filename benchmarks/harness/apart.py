"""Measure in a process of its own, so that neither memory nor caches of one measurement count for the next."""

import json
import subprocess
import sys
from collections.abc import Mapping

from panoptic.runtime.cli import ending_with_this


class ApartError(ValueError):
    """A measurement that failed; the message is the end of its output."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def measure_apart(module: str, task: Mapping[str, object]) -> float:
    """Run a module that reads `task` as JSON and prints a number. Raises `ApartError` if it fails."""
    command = [sys.executable, "-m", module]
    ended = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, env=ending_with_this())
    if ended.returncode:
        raise ApartError(ended.returncode, ended.stderr.strip()[-500:])
    return float(ended.stdout)
