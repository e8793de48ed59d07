"""Inspecting a machine: processors, memory, shared memory, disk, open files, folders that can be written to."""

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from panoptic_segformer.doctor.finding import Finding, gigabytes

_LEAST_MEMORY = 4e9
_LEAST_SHARED = 1e9
_LEAST_DISK = 5e9
_LEAST_FILES = 1024
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MEMORY = Path("/proc/meminfo")
_SHARED = Path("/dev/shm")
_ANOTHER = "change to another folder (HOME, TMPDIR, HF_HOME name those that are not the current one)"


def inspect_machine() -> Iterator[Finding]:
    """Yield the findings."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("CPU cores", "ok", f"{cores} of {os.cpu_count()} may be used")
    yield _memory()
    if _SHARED.is_dir():
        yield _shared_memory()
    yield _writable("current folder", Path.cwd)
    yield _writable("temporary files", lambda: Path(tempfile.gettempdir()))
    yield _writable("downloads", _downloads)
    yield _open_files()


def _memory() -> Finding:
    try:
        text = _MEMORY.read_text(encoding="ascii")
    except OSError:
        return Finding("memory", "ok", "unknown on this system")
    lines = dict(line.split(":", 1) for line in text.splitlines())
    total, available = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    limits = [int(text) for path in _MEMORY_LIMITS if path.is_file() and (text := path.read_text().strip()).isdecimal()]
    total = min(total, *limits) if limits else total
    found = f"{gigabytes(min(available, total))} of {gigabytes(total)} available"
    if min(available, total) < _LEAST_MEMORY:
        return Finding("memory", "warning", found, "end other programs, or use smaller images, batches and workers")
    return Finding("memory", "ok", found)


def _shared_memory() -> Finding:
    free = shutil.disk_usage(_SHARED).free
    if free < _LEAST_SHARED:
        hint = "in a container, give `--shm-size 8g`: workers hand images over there"
        return Finding(str(_SHARED), "warning", f"{gigabytes(free)} free", hint)
    return Finding(str(_SHARED), "ok", f"{gigabytes(free)} free")


def _writable(topic: str, find: Callable[[], Path]) -> Finding:
    """Judge whether files can be written to a folder, which may yet have to be made, and how many."""
    try:
        folder = find()
    except (OSError, RuntimeError) as error:  # removed, no folder of the system, or a user without a home
        return Finding(topic, "problem", f"there is none ({error})", _ANOTHER)
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))  # also where none may look
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return Finding(topic, "problem", f"{existing} cannot be written to", f"{_ANOTHER}, or its permissions")
    free = shutil.disk_usage(existing).free
    found = f"{folder}: writable, {gigabytes(free)} free"
    if free < _LEAST_DISK:
        return Finding(topic, "warning", found, "free some disk space: weights and results take some GB")
    return Finding(topic, "ok", found)


def _downloads() -> Path:
    """Return the folder in which the Hugging Face hub's library keeps downloads."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser().absolute()


def _open_files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_FILES:
        hint = f"ulimit -n {_LEAST_FILES}: workers keep many files open"
        return Finding("open files", "warning", f"at most {limit}", hint)
    return Finding("open files", "ok", "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit}")
