"""Worker processes that never outlive the program that started them, and work that runs ahead of its reader."""

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


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """That many processes of one thread each; None for 0, which stands for this process.

    At the end of the block what has not begun is dropped.
    """
    if workers <= 0:
        yield None
        return
    # A fresh interpreter instead of a fork: OpenCV's threads do not survive one.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def map_ahead(pool: Executor | None, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Apply `function` to each item, in order; the pool works on at most `ahead` items more than were asked for."""
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
    # The processes share the cores already. Said by the environment, because not all of them need OpenCV's memory.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent closes no queue, and its workers would wait for work for ever."""
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
        """Whether no other shard has fewer items."""
        return self.number == self.of
