"""Who trains on a state: a small file beside it, so that of two trainers one stops.

A job whose machine was cut off goes on while the queue has started it anew elsewhere. Locks cannot tell, because they
do not work on every network file system. So the last trainer to start writes its name, and each looks, before it saves,
whether the name is still its own. Until then both compute the same: the folder is named after all that decides it.
"""

import json
import os
import socket
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from panoptic.io.files import write_atomically


class StateTakenError(ValueError):
    """Another trainer has taken over the state, or has finished the run."""


def _launch() -> str:
    """The same for all processes of one start and for those that torchrun starts in their place."""
    return os.environ.get("TORCHELASTIC_RUN_ID") or uuid.uuid4().hex


@dataclass(frozen=True)
class Ownership:
    """This trainer's claim to the states in `folder`."""

    folder: Path
    launch: str = field(default_factory=_launch)

    def take(self) -> None:
        """Claim the states, from whoever has them. Processes that torchrun has started again only check."""
        if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) and self._file.exists():
            self.check()
            return
        owner = {"launch": self.launch, "host": socket.gethostname(), "pid": os.getpid()}
        owner |= {"job": os.environ.get("SLURM_JOB_ID", "")}
        write_atomically(self._file, (json.dumps(owner) + "\n").encode())

    def check(self) -> None:
        """Raise `StateTakenError` if the states are no longer this trainer's."""
        try:
            owner = json.loads(self._file.read_text())
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
