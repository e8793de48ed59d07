"""The lines that `panoptic doctor` reports, and asking other programs for them."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    state: State
    found: str
    hint: str = ""
    """What to do about a warning or problem."""


def ask(
    command: Sequence[str], seconds: float, text: str = "", environment: Mapping[str, str] | None = None
) -> str | None:
    """Return what a program prints, until it ends or is ended after some seconds; None if it cannot be started."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment
        )
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout or b""
        return said if isinstance(said, str) else said.decode(errors="replace")
    except OSError:
        return None
    return done.stdout


def ask_module(name: str, seconds: float, text: str) -> str:
    """Return what a module prints that Python runs with the same path as this program."""
    path = os.pathsep.join(folder or os.curdir for folder in sys.path)
    return ask((sys.executable, "-P", "-m", name), seconds, text, {**os.environ, "PYTHONPATH": path}) or ""


def gigabytes(count: float) -> str:
    """Format a number of bytes in GB."""
    return f"{count / 1e9:.1f} GB"
