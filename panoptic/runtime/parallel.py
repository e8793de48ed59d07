"""Worker processes that never outlive the program that started them, and work that runs ahead of its consumer."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def count_processes(workers: int) -> int:
    """The number of processes that a setting `workers` stands for, where -1 is one per core.

    Raises `ValueError` below -1.
    """
    if workers < -1:
        raise ValueError(f"workers is {workers}; give the number of processes, 0 for none, or -1 for one per core")
    return len(os.sched_getaffinity(0)) if workers < 0 else workers


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """Start `workers` single-threaded processes; yields None for 0, which stands for this process.

    Work that has not begun when the block ends is dropped.
    """
    if workers <= 0:
        yield None
        return
    # Fresh interpreters instead of forks, which OpenCV's threads do not survive.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def map_ahead(pool: Executor | None, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Yield `function` of each item, in order; the pool works at most `ahead` items ahead of the consumer."""
    if pool is None:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _begin() -> None:
    # The processes share the cores already. Set in the environment, because not all of them need to load OpenCV.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed parent closes no queue, and workers would wait forever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@dataclass(frozen=True)
class Shard:
    """The part of the work that one of `of` programs does; `number` counts from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"--shard {self.number}/{self.of}; give the number of the shard, from 1, and of how many")

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`2/4`. Raises `ValueError` for another form."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise ValueError(f"--shard {text!r} is not of the form NUMBER/OF, as in 2/4")
        return cls(int(number), int(of))

    def choose(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of this shard; every item is in exactly one shard."""
        return items[self.number - 1 :: self.of]

    @property
    def is_last(self) -> bool:
        """True if no other shard has fewer items."""
        return self.number == self.of
