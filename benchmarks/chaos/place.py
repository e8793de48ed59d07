"""The folder of a moment: the tree that the program works in, on a disk of its own, and the logs beside it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos import namespace
from benchmarks.chaos.board import Board
from benchmarks.chaos.moments import MOUNTS, Kind
from benchmarks.chaos.processes import end_processes
from benchmarks.chaos.targets import Target, environment

_LONGEST_SECONDS, _LONGEST_WHOLE_SECONDS = 60.0, 300.0  # of a run, beyond a multiple of its undisturbed time
_SLOWER = 5
_MEBIBYTE = 1 << 20
_SHM_BYTES, _DISK_BYTES = 4096, 64 * _MEBIBYTE


@dataclass(frozen=True)
class Place:
    """Where a program is disturbed, and run again; with `mounts` it has a /dev/shm of its own."""

    folder: Path
    target: Target
    kind: Kind
    shim: Path | None
    mounts: bool

    @property
    def disk(self) -> Path:
        """A folder, or a mounted file system if something happens to that."""
        return self.folder / "disk"

    @property
    def tree(self) -> Path:
        """The working directory of the program."""
        return self.disk / "tree"

    @property
    def shm(self) -> Path:
        """The folder that is /dev/shm to the program."""
        return self.folder / "shm"

    @property
    def filler(self) -> Path:
        """The file that fills the disk."""
        return self.disk / "full"

    @property
    def mark(self) -> str:
        """The mark of all processes of this moment."""
        return str(self.folder)

    @property
    def longest(self) -> float:
        """Seconds after which a run counts as hung."""
        longest = _LONGEST_WHOLE_SECONDS if self.target.is_whole else _LONGEST_SECONDS
        return longest + _SLOWER * self.target.seconds

    def log(self, name: str) -> str:
        """Everything that a run has said."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def start(self, name: str, board: Board | None) -> subprocess.Popen[bytes]:
        """Start the program in a session of its own; its output goes to a log of this name."""
        command = list(self.target.command)
        if self.mounts:
            command = namespace.with_own_shm(command, self.shm)
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.tree,
                env=environment(self.tree, self.folder, self.mark, board, self.shim),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @contextmanager
    def laid_out(self) -> Iterator[None]:
        """Copy the tree to its disk; at the end, no process and no mounted file system is left."""
        self.disk.mkdir(parents=True)
        self.shm.mkdir()
        mounted = [(self.disk, _DISK_BYTES)] if self.kind in MOUNTS else []
        if self.kind is Kind.TINY_SHM:
            mounted.append((self.shm, _SHM_BYTES))
        for folder, size in mounted:
            namespace.mount_memory(folder, size)
        try:
            shutil.copytree(self.target.before, self.tree, symlinks=True)
            yield
        finally:
            end_processes(self.mark)
            for folder, _ in mounted:
                namespace.unmount(folder)

    def repair(self) -> None:
        """Undo what has been done to the machine, so that the program can run to its end."""
        end_processes(self.mark)
        if self.kind is Kind.READ_ONLY:
            namespace.make_writable(self.disk)
        self.filler.unlink(missing_ok=True)
        if self.kind is Kind.TINY_SHM:
            namespace.resize(self.shm, _DISK_BYTES)
