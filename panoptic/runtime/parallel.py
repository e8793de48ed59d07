"""Worker processes that never outlive the program that started them, and work that runs ahead of its consumer."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

from panoptic.runtime.cli import ignore

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")
_LEAVE_SECONDS = 5.0  # for a worker to remove its temporary files


class DeadWorkerError(ChildProcessError):
    """A worker process was killed, or crashed."""


def count_processes(workers: int) -> int:
    """The number of processes that a setting `workers` stands for, where -1 is one per core.

    Raises `ValueError` below -1.
    """
    if workers < -1:
        raise ValueError(f"workers is {workers}; give the number of processes, 0 for none, or -1 for one per core")
    return len(os.sched_getaffinity(0)) if workers < 0 else workers


@contextmanager
def worker_pool(workers: int, setting: str = "workers") -> Iterator[Executor | None]:
    """Start `workers` single-threaded processes; yields None for 0, which stands for this process.

    Work that has not begun when the block ends is dropped. When the block ends by an exception, the workers end too:
    work in progress is interrupted, and removes its temporary files.

    Raises:
        DeadWorkerError: A worker was killed; the message names `setting`, which says how many there are.
    """
    if workers <= 0:
        yield None
        return
    others = set(active_children())
    pool = _Pool(workers)
    try:
        yield pool
        pool.shutdown(cancel_futures=True)
    except BrokenExecutor:
        hint = f"perhaps out of memory: run again with a smaller {setting}, which resumes where results are kept"
        raise DeadWorkerError(f"a worker process has ended abruptly, {hint}") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        end_processes(set(active_children()) - others, _LEAVE_SECONDS)


def end_processes(processes: Collection[BaseProcess], patience: float = 0.0) -> None:
    """End child processes: by SIGTERM if there is patience, in seconds, and by SIGKILL those that are left."""
    if patience:
        deadline = time.monotonic() + patience
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()


class _Pool(ProcessPoolExecutor):
    """Processes that leave Ctrl-C to the program that started them, and clean up when it ends them."""

    def __init__(self, workers: int) -> None:
        # Fresh interpreters instead of forks, which OpenCV's threads do not survive.
        with _left_to_this(signal.SIGHUP):  # which ends multiprocessing's own helper, started here, unlike others
            super().__init__(workers, mp_context=get_context("spawn"), initializer=_begin)

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Submit work; the process that may be started for it leaves what a terminal sends to all to this one."""
        with _left_to_this(signal.SIGINT, signal.SIGHUP):
            return super().submit(_work, partial(function, *args, **kwargs))


@contextmanager
def _left_to_this(*numbers: signal.Signals) -> Iterator[None]:
    """Have processes that are started in the block inherit that signals are blocked, even as they start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _LeaveError(SystemExit):
    """This worker has to end, once the work in progress has removed its temporary files."""


def _work(call: Callable[[], R]) -> R:
    try:
        return call()
    except _LeaveError:
        os._exit(128 + signal.SIGTERM)  # the pool's own loop would go on with the next work


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, ignore)  # further ones would interrupt the cleaning up
    raise _LeaveError(128 + signal.SIGTERM)


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


def ahead(items: Iterator[T], count: int) -> Generator[T]:
    """Yield items that a thread takes from an iterator, at most `count` ahead of the consumer.

    What the iterator raises is raised here, after the items before. Close the generator to end the thread, which then
    finishes no more than the item in progress.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[T]] = deque()
        try:
            while True:
                while len(waiting) <= count:
                    waiting.append(thread.submit(next, items))
                try:
                    yield waiting.popleft().result()
                except StopIteration:
                    return
        finally:
            for future in waiting:
                future.cancel()


def _begin() -> None:
    # The processes share the cores already. Set in the environment, because not all of them need to load OpenCV.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    signal.signal(signal.SIGTERM, _leave)
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
