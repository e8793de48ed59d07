"""Ownership of a training state: a small file beside it makes one of two trainers stop.

A job whose machine lost its connection keeps running while the queue restarts it elsewhere. Locks do not help, because
they do not work on every network file system. So the last trainer to start writes its name into a file, and every
trainer checks before it saves that the name is still its own. Until then both compute the same, because the folder is
named after everything that decides the result.
"""

import json
import os
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from panoptic.io.files import write_atomically
from panoptic.io.reading import open_file


class StateTakenError(ValueError):
    """Another trainer has taken over the state, or has finished the run."""


def _launch() -> str:
    """Identify this launch: the same for all its processes, and for those that torchrun restarts in their place."""
    return os.environ.get("TORCHELASTIC_RUN_ID") or uuid.uuid4().hex


@dataclass(frozen=True)
class Ownership:
    """This trainer's claim to the states in `folder`."""

    folder: Path
    launch: str = field(default_factory=_launch)

    def claim(self) -> None:
        """Take over the states from any other trainer. Processes that torchrun has restarted only check."""
        if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) and self._file.exists():
            self.check()
            return
        owner = {"launch": self.launch, "host": socket.gethostname(), "pid": os.getpid()}
        owner |= {"job": os.environ.get("SLURM_JOB_ID", "")}
        write_atomically(self._file, (json.dumps(owner) + "\n").encode())

    def check(self) -> None:
        """Check that the states still belong to this trainer.

        Raises:
            StateTakenError: they do not.
        """
        try:
            with open_file(self._file) as file:
                owner = json.load(file)
        except FileNotFoundError:
            raise StateTakenError(
                f"{self._file} is gone: another trainer has finished this run, or the state was deleted; "
                "this one stops without writing"
            ) from None
        if owner["launch"] != self.launch:
            job = f", job {owner['job']}" if owner["job"] else ""
            raise StateTakenError(
                f"process {owner['pid']} on {owner['host']}{job} has taken over this run; "
                "this one stops without writing"
            )

    @property
    def _file(self) -> Path:
        return self.folder / "owner.json"
