"""Measure in a process of its own: memory and caches of one measurement do not count for the next, nor do failures."""

import json
import subprocess
import sys
from collections.abc import Mapping

from panoptic.runtime.cli import ending_with_this


class ApartError(ValueError):
    """A process that failed; the message is the end of its output, or its exit status if it was killed or silent."""


def run_apart(module: str, task: Mapping[str, object]) -> str:
    """Run a module that reads `task` as JSON, and return what it prints. Raises `ApartError` if it fails."""
    command = [sys.executable, "-m", module]
    ended = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, env=ending_with_this())
    if ended.returncode:
        said = ended.stderr.strip()[-500:] if ended.returncode > 0 else ""
        raise ApartError(said or f"exit status {ended.returncode}, killed or out of memory")
    return ended.stdout
