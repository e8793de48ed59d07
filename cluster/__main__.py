"""Start a module as the processes that the `cluster` settings ask for, and end as they end.

    python -m cluster '{"launcher": "slurm", "nodes": 2}' PARAMS FOLDER stages.train --params PARAMS ...

A stage starts itself so, with its settings as JSON, the file that it read them from, and a folder for what SLURM needs.
"""

import json
import os
import signal
import sys
import uuid
from pathlib import Path
from types import FrameType
from typing import NoReturn

from cluster.settings import ClusterSettings
from cluster.slurm import SlurmError, cancel, submit_or_find, watch


def main() -> None:
    """The command line; the exit status is that of the processes, or of the job."""
    document, params, folder, *command = sys.argv[1:]
    settings = ClusterSettings(**json.loads(document))
    if settings.launcher == "torchrun":
        # Alone the machine has nobody to mistake; several know each other by where they meet.
        meeting = [settings.rendezvous, uuid.uuid4().hex if settings.nodes == 1 else "train"]
        os.execv(sys.executable, [sys.executable, "-m", "cluster.agent", document, *meeting, *command])
    try:
        sys.exit(run_job(settings, command, Path(params), Path(folder)))
    except SlurmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def run_job(settings: ClusterSettings, command: list[str], params: Path, folder: Path) -> int:
    """Submit `command` and wait for it. Being told to end cancels the job; being killed leaves it to the next call."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    job = submit_or_find(settings, command, params, folder)
    try:
        end = watch(job)
    except SystemExit:
        cancel(job)
        print(f"job {job.number} cancelled", file=sys.stderr)
        raise
    if end.code:
        print(f"job {job.number} ended as {end.state}, exit status {end.code}; its output: {job.log}", file=sys.stderr)
    return end.code


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
