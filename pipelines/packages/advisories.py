"""Advisories about known vulnerabilities, as files in the OSV format (https://ossf.github.io/osv-schema)."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from panoptic.io.reading import read_file, require_file
from pipelines.packages.lock import normalized

_SUFFIXES = (".json", ".yaml", ".yml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # by libyaml if it is there, ten times as fast
_LARGEST = 1 << 26
"""Bytes of one advisory."""
_DAMAGE = (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)
"""What `zipfile` raises for archives that are damaged, encrypted or packed by an unknown method."""
_COMPARED = ("ECOSYSTEM", "SEMVER")  # ranges of type GIT name commits, beside the versions


@dataclass(frozen=True)
class Advisory:
    """What an advisory says about one package; `ranges` are events by their order, as (kind, version)."""

    id: str
    aliases: tuple[str, ...]
    package: str
    versions: frozenset[str]
    ranges: tuple[tuple[tuple[str, str], ...], ...]

    @property
    def fixed(self) -> tuple[str, ...]:
        """Versions in which it is fixed."""
        found = {version for events in self.ranges for kind, version in events if kind == "fixed"}
        return tuple(sorted(found, key=_order))

    def affects(self, version: str) -> bool:
        """Return True if it is about this version of the package."""
        public = version.partition("+")[0]  # without the build, such as +cpu
        listed = canonicalize_version(public) in map(canonicalize_version, self.versions)
        return listed or any(_within(public, events) for events in self.ranges)


def read_advisories(database: Path) -> Iterator[Advisory]:
    """Yield every advisory about a package of PyPI in a folder or zip file of JSON or YAML files, unless withdrawn.

    Raises:
        ValueError: There is none, or a file is not an advisory.
    """
    found = False
    for name, text in _texts(database):
        try:
            content = json.loads(text) if name.endswith(".json") else yaml.load(text, Loader=_LOADER)
            advisories = tuple(_parse(content))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
            reason = f"{name} is no advisory in the OSV format ({error!r:.200})"
            raise ValueError(f"{database}: {reason}; restore it, or get the database again") from None
        found = found or bool(advisories)
        yield from advisories
    if not found:
        raise ValueError(
            f"{database}: no advisory about a package of PyPI in it; give a copy of PyPA's advisory database, or OSV's"
            " all.zip for PyPI"
        )


def _texts(database: Path) -> Iterator[tuple[str, bytes]]:
    if database.is_dir():
        for file in sorted(database.rglob("*")):
            if file.suffix in _SUFFIXES and not file.is_dir():
                yield str(file.relative_to(database)), read_file(file)
        return
    if not database.exists() or not zipfile.is_zipfile(require_file(database)):
        raise ValueError(f"{database} is neither a folder nor a zip file of advisories; give one of the two")
    try:
        with zipfile.ZipFile(database) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(_SUFFIXES):
                    if entry.file_size > _LARGEST:
                        raise ValueError(f"{entry.filename} has {entry.file_size} bytes, more than any advisory")
                    yield entry.filename, archive.read(entry)
    except _DAMAGE as error:
        raise ValueError(f"{database}: damaged, or no zip file of advisories ({error}); get it again") from None


def _parse(record: Mapping[str, Any]) -> Iterator[Advisory]:
    name, affected = record["id"], record.get("affected") or ()
    if record.get("withdrawn"):
        return
    for one in affected:
        if one.get("package", {}).get("ecosystem") == "PyPI":
            ranges = [found["events"] for found in one.get("ranges") or () if found["type"] in _COMPARED]
            yield Advisory(
                id=str(name),
                aliases=tuple(map(str, record.get("aliases") or ())),
                package=normalized(one["package"]["name"]),
                versions=frozenset(map(str, one.get("versions") or ())),
                ranges=tuple(map(_events, ranges)),
            )


def _events(events: Sequence[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = [(kind, str(version)) for event in events for kind, version in event.items()]
    return tuple(sorted(pairs, key=lambda pair: _order(pair[1])))


def _within(version: str, events: Sequence[tuple[str, str]]) -> bool:
    affected, here = False, _order(version)
    for kind, limit in events:
        if kind == "introduced" and here >= _order(limit):
            affected = True
        elif (kind == "fixed" and here >= _order(limit)) or (kind == "last_affected" and here > _order(limit)):
            affected = False
    return affected


def _order(version: str) -> tuple[bool, Version]:
    """Return a key to sort versions by: first 0, which is before any version; last what is no version of PEP 440."""
    try:
        return version != "0", Version(version)
    except InvalidVersion:
        return True, Version("999999!0")
