"""Unfinished work that a later run may resume: where it is kept, and everything that decides its result.

The folder of the work is named after that identity, so that only work that would have the same result is resumed. A
note in it holds the parts, so that a run that cannot resume it says why. `panoptic.tools.unfinished` lists the folders.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import write_atomically
from panoptic.io.reading import read_file, read_text
from panoptic.io.working_folder import remove_at_once
from panoptic.runtime.fingerprint import code_digests, file_digest, file_signature, fingerprint
from panoptic.runtime.settings import flat_settings

_NOTE, _PROGRESS, _OWNER = "identity.json", "progress.txt", "owner.json"
# Files beside the results; training describes its coming states in `state.json`, and notes the others for passports.
_NOTES = {_NOTE, _PROGRESS, _OWNER, "state.json", "begun.json", "first_steps.json"}
# The fingerprint alone named the states of training in earlier versions.
_FOLDER = re.compile(r"(?:([a-z]+)-)?[0-9a-f]{16}")
_SHOWN_SETTINGS, _LONGEST_CHANGE = 5, 200


@dataclass(frozen=True)
class ResumeIdentity:
    """Everything that decides a result: settings by their full names, digests of the rest by the names of its parts."""

    settings: Mapping[str, object]
    files: Mapping[str, str | None]
    data: Mapping[str, str]
    code: Mapping[str, str]
    libraries: Mapping[str, str]

    @property
    def name(self) -> str:
        """Short hash of all parts."""
        return fingerprint(asdict(self))

    def changes_since(self, earlier: "ResumeIdentity") -> list[str]:
        """Describe everything in which this identity differs from an earlier one."""
        settings = setting_changes(earlier.settings, self.settings)
        inputs = [*_changed(earlier.files, self.files), *_changed(earlier.data, self.data)]
        libraries = [
            f"{name} {earlier.libraries.get(name)} -> {now}"
            for name, now in self.libraries.items()
            if earlier.libraries.get(name) != now
        ]
        code = code_changes(earlier.code, self.code)
        return [*settings, *(f"{part} changed" for part in inputs), *code, *libraries]


def resume_identity(
    settings: Mapping[str, object],
    files: Mapping[str, Path | None] | None = None,
    data: Mapping[str, Path] | None = None,
    code: Iterable[Path] | None = None,
    libraries: Sequence[str] = (),
) -> ResumeIdentity:
    """Describe everything that decides a result.

    Args:
        settings: dataclasses and JSON-like values, by section; fields marked `NO_INFLUENCE` are left out.
        files: inputs that are read whole, each by its content; None for one that is not used.
        data: folders and archives that are too large for that: by the names, sizes and times of their files.
        code: source files, by default `imported_code`; add modules that are imported later, by name.
        libraries: distributions whose versions matter.
    """
    return ResumeIdentity(
        settings=json.loads(json.dumps(dict(flat_settings(settings)), default=str)),
        files={part: None if path is None else file_digest(path) for part, path in (files or {}).items()},
        data={part: fingerprint(dict(file_signature(path))) for part, path in (data or {}).items()},
        code=code_digests(code),
        libraries={name: version(name) for name in libraries},
    )


def setting_changes(earlier: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Describe settings that differ, at most a few of them."""
    changes = [_setting_change(name, earlier.get(name), now.get(name)) for name in _changed(earlier, now)]
    more = len(changes) - _SHOWN_SETTINGS
    return [*changes[:_SHOWN_SETTINGS], f"{more} more settings"] if more > 0 else changes


def _setting_change(name: str, earlier: object, now: object) -> str:
    change = f"{earlier} -> {now}"
    return f"{name} changed" if len(change) > _LONGEST_CHANGE else f"{name} {change}"


def code_changes(earlier: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe a change of source files by their folders."""
    folders = sorted({str(PurePosixPath(name).parent) for name in _changed(earlier, now)})
    return [f"code in {shown_ids(folders, 3)} changed"] if folders else []


def _changed(earlier: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    return [name for name in {**earlier, **now} if earlier.get(name) != now.get(name)]


@dataclass(frozen=True)
class Unfinished:
    """Unfinished work in its folder."""

    folder: Path

    @property
    def stage(self) -> str:
        """The stage that does the work."""
        found = _FOLDER.fullmatch(self.folder.name)
        return (found and found.group(1)) or "train"

    @property
    def identity(self) -> ResumeIdentity | None:
        """The identity of the work; None if an earlier version of the project left it."""
        try:
            identity = ResumeIdentity(**json.loads(read_file(self.folder / _NOTE)))
        except (OSError, ValueError, TypeError):
            return None
        return identity if all(isinstance(part, dict) for part in vars(identity).values()) else None

    @property
    def progress(self) -> str:
        """How far the work has come."""
        try:
            return read_text(self.folder / _PROGRESS).strip()
        except DatasetError:
            done = len(self.results())
            return f"{done} files" if done else "nothing done"

    @property
    def modified(self) -> datetime:
        """Time of the last change, in local time."""
        return datetime.fromtimestamp(max((state.st_mtime for state in self._files()), default=0))

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(state.st_size for state in self._files())

    def results(self) -> list[Path]:
        """List the finished parts."""
        return [path for path in self.folder.glob("[!.]*") if path.name not in _NOTES]

    def _files(self) -> Iterator[os.stat_result]:
        for path in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # the program that does the work has replaced it
                state = path.stat()
                if stat.S_ISREG(state.st_mode):
                    yield state


def find_unfinished(root: Path) -> list[Unfinished]:
    """Find all unfinished work in the folder of states, the newest first."""
    folders = [path for path in root.glob("*") if path.is_dir() and _FOLDER.fullmatch(path.name)]
    return sorted(map(Unfinished, folders), key=lambda work: work.modified, reverse=True)


def work_folder(root: Path, stage: str, identity: ResumeIdentity) -> Path:
    """Return the folder for unfinished work of this identity."""
    return root / f"{stage}-{identity.name}"


def open_work(root: Path, stage: str, identity: ResumeIdentity) -> Path:
    """Create the folder for unfinished work; if it is new, say why earlier work of the stage is not resumed."""
    folder = work_folder(root, stage, identity)
    if not Unfinished(folder).results():
        others = [work for work in find_unfinished(root) if work.stage == stage and work.results()]
        if others:
            print(_why_not_resumed(others, identity), flush=True)
    write_atomically(folder / _NOTE, (json.dumps(asdict(identity), indent=1) + "\n").encode())
    return folder


def close_work(folder: Path) -> None:
    """Remove the folder of finished work, if it can be; half of it would be resumed as if it were the whole."""
    with suppress(OSError):
        remove_at_once(folder)


def note_progress(folder: Path, progress: str) -> None:
    """Note how far the work in `folder` has come, for people."""
    write_atomically(folder / _PROGRESS, f"{progress}\n".encode())


def _why_not_resumed(others: Sequence[Unfinished], identity: ResumeIdentity) -> str:
    newest, command = others[0], f"python -m panoptic.tools.unfinished --state {others[0].folder.parent}"
    earlier = newest.identity
    reason = "; ".join(identity.changes_since(earlier)) if earlier else "left by another version of the project"
    more = f"; {len(others) - 1} older: {command}" if len(others) > 1 else ""
    return (
        f"unfinished work is not resumed: {newest.folder} ({newest.progress}, {newest.modified:%Y-%m-%d %H:%M}), "
        f"because of a change since: {reason}. This run starts from the beginning. To resume that work, undo the "
        f"change; to delete it: {command} --delete {newest.folder.name}{more}"
    )
