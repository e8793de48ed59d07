"""Run a flow's programs on the workers of a Dask scheduler.

Each worker runs one program at a time, under the guard, in the folder in which the worker was started: a checkout on a
file system that all machines share. A program ends when its worker does, or when the flow no longer waits for it. If a
worker dies, Dask hands the program to another one, at most `distributed.scheduler.allowed-failures` (3) times.
"""

import platform
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast
from uuid import uuid4

import distributed
from distributed import KilledWorker, Status, get_worker

from pipelines.dvc_project.project import DvcProject
from pipelines.executors.executor import Program
from pipelines.executors.file_sync import SECONDS, Snapshot, take_snapshot, wait_for
from pipelines.process.session import CommandError, OutputLine, Show

CONNECT_SECONDS = 10.0
_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 1.0  # between two progress-bar updates that are sent


class Future(Protocol):
    """The part of `distributed.Future`, which has no type hints, that is used here."""

    def done(self) -> bool:
        """Return True once there is a result or an error, or the task was cancelled."""

    def cancel(self) -> None:
        """Give up on the task."""

    def cancelled(self) -> bool:
        """Return True if the task was given up, here or by the scheduler."""

    def result(self) -> Snapshot:
        """Return the result of `run_on_worker`, or raise its error, or KilledWorker."""


class Client(Protocol):
    """The part of `distributed.Client` that is used here."""

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[object, tuple[str, bool]]], None]) -> None:
        """Call the handler with (time, event) for every event of a topic."""

    def submit(self, function: Callable[..., Snapshot], *args: object, key: str, pure: bool) -> Future:
        """Have a worker call the function."""

    def scheduler_info(self, n_workers: int) -> Mapping[str, Mapping[str, object]]:
        """Return what the scheduler knows about its workers."""


@dataclass(frozen=True)
class DaskExecutor:
    """Runs programs on the workers of a scheduler; `folder` is the checkout as the flow sees it."""

    client: Client
    folder: Path
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, program: Program, show: Show) -> None:
        """Run a program on an idle worker, and wait until the files it wrote are visible on this machine.

        Raises:
            CommandError: The program failed, or the workers that ran it died.
        """
        key = f"{program.name.replace(' ', '-')}-{uuid4().hex}"
        lines: queue.Queue[OutputLine] = queue.Queue()
        self.client.subscribe_topic(key, lambda event: lines.put(OutputLine(*event[1])))
        reads = take_snapshot(self.folder, program.reads)
        arguments = (key, program.command, reads, program.writes)
        future = self.client.submit(run_on_worker, *arguments, key=key, pure=False)
        while not future.done() or not lines.empty():
            if self.stopped.is_set():
                future.cancel()
            with suppress(queue.Empty):
                show(lines.get(timeout=_POLL_SECONDS))
        if future.cancelled():
            raise CommandError("given up, or the Dask scheduler is gone; finished work is kept")
        try:
            written = future.result()
        except KilledWorker as killed:
            raise CommandError(
                f"{killed.allowed_failures + 1} workers died running it, the last at {killed.last_worker.address}; "
                "finished work is kept"
            ) from None
        if late := wait_for(self.folder, written):
            show(OutputLine(f"{len(late)} files are not visible after {SECONDS:g} s: {', '.join(late[:3])}", False))

    def stop(self) -> None:
        """Give up on all programs; a worker ends its program when nobody waits for it."""
        self.stopped.set()


@contextmanager
def dask_executor(scheduler: str, folder: Path) -> Iterator[DaskExecutor]:
    """Connect to the scheduler at an address such as tcp://127.0.0.1:8786.

    Raises:
        ValueError: No scheduler answers, or it has no workers.
    """
    try:
        connect = cast("Callable[..., AbstractContextManager[Client]]", distributed.Client)
        connection = connect(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {scheduler} ({error}); see docs/cluster.md") from None
    with connection as client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ValueError(f"the Dask scheduler at {scheduler} has no workers; start some, see docs/cluster.md")
        yield DaskExecutor(client, folder)


def run_on_worker(topic: str, command: Sequence[str], reads: Snapshot, writes: Sequence[str]) -> Snapshot:
    """Run a command in this Dask worker's folder, send its output to the topic, and return a snapshot of `writes`.

    Raises:
        CommandError: The files it reads do not become visible here, or the command failed.
    """
    worker, folder = get_worker(), Path.cwd()
    task = worker.get_current_task()
    machine = f"{platform.node()}, {worker.address}"
    progress_due = 0.0

    def send(line: OutputLine) -> None:
        nonlocal progress_due
        if line.transient and time.monotonic() < progress_due:
            return
        progress_due = time.monotonic() + _PROGRESS_SECONDS if line.transient else progress_due
        worker.log_event(topic, (line.text, line.transient))

    def wanted() -> bool:
        state = worker.state.tasks.get(task)
        return state is not None and state.state == "executing" and worker.status in (Status.running, Status.paused)

    send(OutputLine(f"on {machine} in {folder}", transient=False))
    if missing := wait_for(folder, reads):
        raise CommandError(
            f"{machine}: {len(missing)} files in {folder} differ from the flow's ({', '.join(missing[:3])}); "
            "start the worker in the flow's checkout, on a file system that both see"
        )
    DvcProject(folder).run(command, send, wanted=wanted)
    return take_snapshot(folder, writes)
