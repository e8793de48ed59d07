"""Run a module in the processes that the `cluster` settings ask for, and exit with their status.

    python -m cluster '{"launcher": "slurm", "nodes": 2}' PARAMS FOLDER stages.train --params PARAMS ...

A stage starts itself this way. PARAMS is the file that the settings come from, FOLDER takes batch scripts and job logs.
"""

import argparse
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
    """Run the command line; the exit status is that of the processes or of the job."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__.splitlines()[0])
    parser.add_argument("settings", metavar="SETTINGS", help="the `cluster` settings as JSON")
    parser.add_argument("params", metavar="PARAMS", type=Path, help="file of settings that the module reads")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where SLURM's scripts and logs go")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="MODULE ...", help="module and its arguments")
    given = parser.parse_args()
    settings = ClusterSettings(**json.loads(given.settings))
    if settings.launcher == "torchrun":
        # Several machines must agree on the run's ID and are told apart by the rendezvous; a single one takes any ID.
        rendezvous = [settings.rendezvous, uuid.uuid4().hex if settings.nodes == 1 else "train"]
        agent = [sys.executable, "-m", "cluster.agent", given.settings, *rendezvous, *given.command]
        os.execv(sys.executable, agent)
    try:
        sys.exit(run_job(settings, given.command, given.params, given.folder))
    except SlurmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def run_job(settings: ClusterSettings, command: list[str], params: Path, folder: Path) -> int:
    """Submit `command` as a job and wait for it. SIGTERM cancels the job; after SIGKILL the next call finds it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    job = submit_or_find(settings, command, params, folder)
    try:
        end = watch(job)
    except SystemExit:
        cancel(job)
        print(f"job {job.id} cancelled", file=sys.stderr)
        raise
    if end.code:
        print(f"job {job.id} ended as {end.state}, exit status {end.code}; its output: {job.log}", file=sys.stderr)
    return end.code


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
