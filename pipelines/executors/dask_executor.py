"""The machines of a Dask scheduler, as places where the programs of a flow run (pipelines/executors/spread.py).

Each of its workers runs one program at a time, below the guard, in the folder where the worker was started: a checkout
on a file system that all of them share. A program ends with its worker, and when the flow no longer waits for it. If
the worker dies, Dask gives the program to another one, `distributed.scheduler.allowed-failures` times (3).
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
from pipelines.executors.file_sync import SECONDS, Seen, look, wait_for
from pipelines.process.run import CommandError, OutputLine, Show

CONNECT_SECONDS = 10.0
_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 1.0  # between two states of a progress bar that are sent


class Future(Protocol):
    """What is used here of `distributed.Future`, which has no types."""

    def done(self) -> bool:
        """It has a result, an error, or was cancelled."""

    def cancel(self) -> None:
        """Nobody wants it any more."""

    def cancelled(self) -> bool:
        """It was given up, here or by the scheduler."""

    def result(self) -> Seen:
        """What `run_there` returned; raises what that raised, or KilledWorker."""


class Client(Protocol):
    """What is used here of `distributed.Client`."""

    def subscribe_topic(self, topic: str, handler: Callable[[tuple[object, tuple[str, bool]]], None]) -> None:
        """Have the handler called with (time, event) for all events of a topic."""

    def submit(self, function: Callable[..., Seen], *args: object, key: str, pure: bool) -> Future:
        """Have a worker call the function."""

    def scheduler_info(self, n_workers: int) -> Mapping[str, Mapping[str, object]]:
        """What the scheduler knows of its workers."""


@dataclass(frozen=True)
class DaskMachines:
    """The workers of a scheduler; `folder` is the flow's own view of the checkout."""

    client: Client
    folder: Path
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, program: Program, show: Show) -> None:
        """Run a program on a machine that has nothing else to do, and wait until this one sees what it has written.

        Raises:
            CommandError: the program failed, or the workers that ran it died.
        """
        key = f"{program.name.replace(' ', '-')}-{uuid4().hex}"
        lines: queue.Queue[OutputLine] = queue.Queue()
        self.client.subscribe_topic(key, lambda event: lines.put(OutputLine(*event[1])))
        future = self.client.submit(
            run_there, key, program.command, look(self.folder, program.reads), program.writes, key=key, pure=False
        )
        while not future.done() or not lines.empty():
            if self.stopped.is_set():
                future.cancel()
            with suppress(queue.Empty):
                show(lines.get(timeout=_POLL_SECONDS))
        if future.cancelled():
            raise CommandError("given up, or the Dask scheduler is gone; what has been finished is kept")
        try:
            written = future.result()
        except KilledWorker as killed:
            raise CommandError(
                f"{killed.allowed_failures + 1} workers died with it, at last {killed.last_worker.address}; "
                "what has been finished is kept"
            ) from None
        if late := wait_for(self.folder, written):
            show(OutputLine(f"{len(late)} files are not in sight after {SECONDS:g} s: {', '.join(late[:3])}", False))

    def stop(self) -> None:
        """Give up on all programs: a worker ends one that nobody waits for."""
        self.stopped.set()


@contextmanager
def dask_machines(scheduler: str, folder: Path) -> Iterator[DaskMachines]:
    """The machines of the scheduler at an address such as tcp://127.0.0.1:8786.

    Raises:
        ValueError: there is none, or it has no workers.
    """
    try:
        connect = cast("Callable[..., AbstractContextManager[Client]]", distributed.Client)
        connection = connect(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {scheduler} ({error}); see docs/cluster.md") from None
    with connection as client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ValueError(f"the Dask scheduler at {scheduler} has no workers; start some, see docs/cluster.md")
        yield DaskMachines(client, folder)


def run_there(topic: str, command: Sequence[str], reads: Seen, writes: Sequence[str]) -> Seen:
    """Run a command in this Dask worker's folder and send its lines to the topic; what it has written.

    Raises:
        CommandError: the files that it reads do not come into sight here, or the command failed.
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
            f"{machine}: in {folder} {len(missing)} files are not those of the flow ({', '.join(missing[:3])}); "
            "start the worker in the flow's checkout, on a file system that both see"
        )
    DvcProject(folder).run(command, send, wanted=wanted)
    return look(folder, writes)
