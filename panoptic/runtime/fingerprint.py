"""Fingerprints of what decides a result: names for folders of unfinished work, so that only the same work goes on."""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def fingerprint(parts: Mapping[str, object]) -> str:
    """Short hash of JSON-like `parts`; equal parts give equal hashes, in any order of their names."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digests() -> dict[str, str]:
    """SHA-256 of every source file of this project that the running program has imported."""
    names = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    files = sorted(Path(name) for name in names if name.endswith(".py"))
    own = [file for file in files if file.is_relative_to(PROJECT) and "site-packages" not in file.parts]
    return {str(file.relative_to(PROJECT)): file_digest(file) for file in own}


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def file_signature(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of last change of a file, or of every file in a folder: a cheap sign that data changed."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def bytes_digest(contents: Iterable[bytes]) -> str:
    """SHA-256 of several contents, each with its length, one after the other."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
