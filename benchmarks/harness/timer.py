"""The timer of all benchmarks. Imports nothing heavy: some measure the memory of their own process."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def _nothing() -> None:
    """Wait for nothing: a CPU has done its work when a call returns."""


class Timer:
    """Measures work in seconds, until `wait` returns: a device may still be busy when a call has returned."""

    def __init__(self, wait: Callable[[], object] = _nothing) -> None:
        self._wait = wait
        self.laps: dict[str, float] = defaultdict(float)
        """Seconds that `lap` has added up under each name."""

    def now(self) -> float:
        """Return the time at which all work given so far is done."""
        self._wait()
        return time.perf_counter()

    def seconds(self, work: Callable[[], object]) -> float:
        """Time one call."""
        started = self.now()
        work()
        return self.now() - started

    def median(self, work: Callable[[], object], repeats: int) -> float:
        """Time several calls, after a first one that fills caches and reserves memory."""
        work()
        return statistics.median(self.seconds(work) for _ in range(repeats))

    def mean(self, work: Callable[[], object], repeats: int) -> float:
        """Time calls that follow each other without waiting, after as many that warm up."""

        def repeat() -> None:
            for _ in range(repeats):
                work()

        repeat()
        return self.seconds(repeat) / repeats

    def lap(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work, add its seconds to the lap of this name, and return its result."""
        started = self.now()
        result = work(*args, **kwargs)
        self.laps[name] += self.now() - started
        return result
