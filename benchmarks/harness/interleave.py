"""Interleaved runs: whatever else the machine does meets everything that is compared alike."""

import subprocess
import sys
from collections.abc import Callable, Hashable, Mapping
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from panoptic.runtime.cli import ending_with_this

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def interleave(runs: Mapping[K, Callable[[], V]], rounds: int, title: str = "measure") -> dict[K, list[V]]:
    """Run everything once a round; return the results of all rounds but the first, which warms up."""
    results: dict[K, list[V]] = {name: [] for name in runs}
    for round_ in tqdm(range(rounds + 1), desc=title, unit="round"):
        for name, run in runs.items():
            result = run()
            if round_:
                results[name].append(result)
    return results


def run_worker(module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> str:
    """Run a module of this package to its end in a process of its own, and return what it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    given = {**ending_with_this(), **(environment or {})}
    return subprocess.run(command, env=given, stdout=subprocess.PIPE, check=True, text=True).stdout


class Worker:
    """A process of a module of this package that prints a line when it is ready and then answers lines with lines.

    Its memory and threads are its own, as a program's are: nothing that one run leaves behind changes another. The
    process ends with the `with` block.
    """

    def __init__(self, module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ValueError: it ended instead.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
            env={**ending_with_this(), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, line: str = "") -> str:
        """Send a line and return the answer, which comes when the work is done. Raises `ValueError` as above."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise ValueError("a process of the benchmark ended early; see its message above")
        return line
