"""Processes that take turns at working, so that whatever else the machine does is shared alike.

Each has memory and threads of its own, as programs have: what one has left behind makes no other faster or slower.
"""

import subprocess
import sys
from collections.abc import Mapping


class Turns:
    """A process of a module of this package, which says that it is ready and then answers lines with lines."""

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def take(self, question: str = "") -> str:
        """A line for its input, and the line that it prints when it has worked."""
        assert self._process.stdin
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ValueError("a process of the benchmark has ended early; its message stands above")
        return line
