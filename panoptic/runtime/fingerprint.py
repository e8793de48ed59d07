"""Fingerprints of settings, files, folders and code, from which `panoptic.runtime.resume` knows equal work."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

from panoptic.io.folder import walk
from panoptic.io.names import is_litter
from panoptic.io.reading import open_file

PROJECT = Path(__file__).resolve().parents[2]
"""Folder of the project's packages: that of the checkout or, of an installation, the one that it shares with others."""
_PACKAGES = ("benchmarks", "cluster", "model", "panoptic", "panoptic_segformer", "pipelines", "stages")
_SHARED_FOLDERS = {"site-packages", "dist-packages"}


def fingerprint(parts: Mapping[str, object]) -> str:
    """Short hash of JSON-like `parts` and dataclasses; equal parts give equal hashes, in any order of their names."""
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def imported_code(*packages: str) -> set[Path]:
    """The source files of this project that the running program has imported so far.

    Args:
        packages: folders whose modules all count, such as `model/ops`, because some are imported only when used.
    """
    names = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    # Resolved, as a checkout may hold links; torch has modules without a file that claim a relative one.
    files = {Path(name).resolve() for name in names if name.endswith(".py") and Path(name).is_absolute()}
    own = {file for file in files if file.is_relative_to(PROJECT) and _is_own(file.relative_to(PROJECT))}
    return own.union(*((PROJECT / package).glob("*.py") for package in packages))


def _is_own(file: Path) -> bool:
    """Tell whether a file below `PROJECT` is of the project, not of a package that is installed there."""
    return file.parts[0] in _PACKAGES or _SHARED_FOLDERS.isdisjoint((PROJECT / file).parts)


def code_digests(files: Iterable[Path] | None = None) -> dict[str, str]:
    """SHA-256 of source files of this project, by default of `imported_code`."""
    files = imported_code() if files is None else files
    return {str(file.relative_to(PROJECT)): file_digest(file) for file in sorted(file.resolve() for file in files)}


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_signature(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of last change of a file, or of every file below a folder: a cheap sign that data changed.

    Files that an operating system leaves behind, such as `.DS_Store`, do not count.
    """
    folder = path if path.is_dir() else path.parent
    names = [name for name, unusable in walk(path) if not unusable] if path.is_dir() else [path.name]
    files = {name: folder / name for name in names if not is_litter(name)}
    states = {name: file.stat() for name, file in files.items() if file.is_file()}
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}


def bytes_digest(contents: Iterable[bytes]) -> str:
    """SHA-256 of several contents in this order, each preceded by its length."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
