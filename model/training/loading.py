"""The processes that load batches, which never outlive the training and never keep it waiting.

They are shielded from the signals that stop a training, because it needs them until its state is saved. Nothing but a
request or SIGKILL ends them, so that whoever starts them ends them, whichever way the training is left.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Event, Queue, active_children
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from model.training.batch import PackedBatch
from model.training.distributed.stopping import shielded
from panoptic.runtime.parallel import DeadWorkerError, end_processes

_LEAVE_SECONDS = 3.0  # for a worker to finish the batch it is loading
_DEATH_SECONDS = 1.0  # until the end of a process is known, after a connection to it broke
_OF_DEAD_WORKERS = (RuntimeError, EOFError, ConnectionError)
"""What torch's handler of SIGCHLD raises, wherever the training is, and what reading from a worker does before it."""
_NO_ROOM = "unable to allocate shared memory"  # torch's words for it
_CAUGHT = "Caught "  # begins what torch says of an error in a worker; the traceback follows, and then the error


@contextmanager
def loaded(loader: DataLoader[PackedBatch]) -> Iterator[Iterator[PackedBatch]]:
    """Start the workers of a loader and yield its batches; end the workers with the block, also by an exception.

    Raises:
        DeadWorkerError: A worker was killed.
        OSError: /dev/shm is too small for workers.
    """
    others, workers = set(active_children()), list[BaseProcess]()
    batches: Iterator[PackedBatch] = iter(())
    try:
        with shielded():
            _require_semaphores(loader.num_workers)
            batches = iter(loader)
        workers += set(active_children()) - others
        yield batches
    except (ValueError, OSError, MemoryError, EOFError, RuntimeError) as error:
        if _NO_ROOM in str(error):
            raise OSError(_hint("the batches that processes load", "No space left on device")) from error
        if isinstance(error, _OF_DEAD_WORKERS) and (dead := _first_dead(workers)):
            raise DeadWorkerError(_description(dead)) from error
        if str(error).startswith(_CAUGHT) and not isinstance(error, RuntimeError):
            raise type(error)(str(error).rpartition(f"{type(error).__name__}: ")[2].strip()) from error
        raise
    finally:
        _end(batches, workers or list(set(active_children()) - others))


def _first_dead(workers: Sequence[BaseProcess]) -> BaseProcess | None:
    """Find a worker that has ended, or does so within a moment, as one whose connection has just broken."""
    with _without_signals_of_workers():
        ended = wait([worker.sentinel for worker in workers], _DEATH_SECONDS)
        dead = next((worker for worker in workers if worker.sentinel in ended), None)
        if dead is not None:
            dead.join(_DEATH_SECONDS)  # its files are closed a moment before its status is known
    return dead


def _require_semaphores(workers: int) -> None:
    """Make what torch makes first to start workers; where it fails, torch adds tracebacks of its own."""
    if not workers:
        return
    try:
        _ = [Queue() for _ in range(workers + 1)], Event()
    except OSError as error:
        raise OSError(
            _hint(f"the processes that load images (train.workers: {workers})", error.strerror or "")
        ) from None


def _hint(what: str, why: str) -> str:
    return (
        f"/dev/shm is too small for {what} ({why}): set train.workers to 0, which loads in the training process, or "
        "make it larger (with Docker: --shm-size=8g)"
    )


def _description(dead: BaseProcess) -> str:
    number = -(dead.exitcode or 0)
    how = f"was killed by {signal.Signals(number).name}" if number > 0 else f"ended with status {-number}"
    return (
        f"a process that loads images {how}, probably for lack of memory or of space in /dev/shm: lower train.workers "
        "(0 loads in the training process, without /dev/shm) or train.images_per_forward; the same command resumes "
        "from the last saved state"
    )


def _end(batches: Iterator[PackedBatch], workers: Sequence[BaseProcess]) -> None:
    """Request the workers' end, and kill those that do not follow in time.

    First the request: a worker killed in the moment in which it looks for one holds the lock on it for ever.
    """
    late = threading.Timer(_LEAVE_SECONDS, end_processes, [workers])
    late.daemon = True
    with _without_signals_of_workers():
        late.start()
        try:
            if isinstance(batches, _MultiProcessingDataLoaderIter):
                with suppress(RuntimeError):  # of workers that were killed
                    batches._shutdown_workers()
        finally:
            late.cancel()
            end_processes(workers)


@contextmanager
def _without_signals_of_workers() -> Iterator[None]:
    """Keep torch's handler of SIGCHLD, which raises for each worker that was killed, from interrupting the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
