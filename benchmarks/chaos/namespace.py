"""File systems of a moment: mounted in a namespace of this program, so that they end with it."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_INSIDE = "CHAOS_IN_NAMESPACE"
_BLOCK = 1 << 16


def enter_namespace(module: str, arguments: Sequence[str]) -> bool:
    """Start the program again where it may mount; return True there, and False if that cannot be."""
    inside = bool(os.environ.pop(_INSIDE, ""))
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--mount"]
    if not inside and _works([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]):
        os.environ[_INSIDE] = "yes"
        os.execvp(command[0], [*command, sys.executable, "-m", module, *arguments])
    return inside


def _works(command: Sequence[str]) -> bool:
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True).returncode


def mount_memory(folder: Path, size: int) -> None:
    """Mount a file system of this size in bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)


def resize(folder: Path, size: int) -> None:
    """Give a mounted file system another size in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """Unmount what `mount_memory` mounted."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def unmount_all(folder: Path) -> None:
    """Unmount everything below a folder."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        mounted = Path(line.split()[1])
        if mounted.is_relative_to(folder):
            with suppress(subprocess.CalledProcessError):  # its moment has just done so
                unmount(mounted)


def make_read_only(folder: Path) -> bool:
    """Make a mounted file system read-only; return False if a file is open for writing, so that it cannot be."""
    return not subprocess.run(["mount", "-o", "remount,ro", str(folder)], capture_output=True).returncode


def make_writable(folder: Path) -> None:
    """Undo `make_read_only`."""
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write to a file until nothing more fits on its disk."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (_BLOCK, 1):
            with suppress(_Full):
                while True:
                    _write(descriptor, size)
    finally:
        os.close(descriptor)


class _Full(Exception):
    pass


def _write(descriptor: int, size: int) -> None:
    try:
        os.write(descriptor, bytes(size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from None


def with_own_shm(command: Sequence[str], shm: Path) -> list[str]:
    """Return a command that sees the folder `shm` as /dev/shm."""
    script = 'mount --bind "$0" /dev/shm && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(shm), *command]
