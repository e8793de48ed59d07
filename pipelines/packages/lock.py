"""requirements.lock: one version of every package, the digests of its files, and which packages need it.

`uv pip compile` writes the lock (`make lock`). Nothing is imported that needs an installed package, because an
installation reads the lock before any package is there.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.reading import read_text

LOCK = Path("requirements.lock")
PROJECT = Path("pyproject.toml")
_PIN = re.compile(r"^([\w.-]+)==([\w.]+)( ; .+?)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n((?:    #.*\n)*)", re.M)
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Pin:
    """One package of the lock; `parents` are the packages that require it, or the project."""

    name: str
    version: str
    marker: str
    hashes: str
    parents: frozenset[str]

    def __str__(self) -> str:
        """Return the lines that pip reads."""
        return f"{self.name}=={self.version}{self.marker}{self.hashes}"


def read_lock(file: Path = LOCK) -> dict[str, Pin]:
    """Read all pins by name.

    Raises:
        ValueError: A line is no part of a pin with digests.
    """
    text = read_text(file)
    if rest := [line for line in _PIN.sub("", text).splitlines() if line and not line.startswith("#")]:
        raise ValueError(f"{file}: {rest[0]!r} is no part of `name==version` with sha256 digests; run `make lock`")
    return {found[1]: _pin(found) for found in _PIN.finditer(text)}


def _pin(found: re.Match[str]) -> Pin:
    parents = re.findall(r"#   ([\w.-]+)|# via ([\w.-]+)", found[5])
    return Pin(found[1], found[2], found[3] or "", found[4], frozenset(one or other for one, other in parents))


def requirements(extras: Collection[str], file: Path = PROJECT) -> frozenset[str]:
    """Return the names of the packages that the project requires itself, with some of its extras.

    Raises:
        ValueError: There is no such extra.
    """
    project = tomllib.loads(read_text(file))["project"]
    optional: Mapping[str, list[str]] = project["optional-dependencies"]
    if unknown := [extra for extra in extras if extra not in optional]:
        raise ValueError(f"no extra {unknown[0]!r} in {file}; extras: {', '.join(sorted(optional))}")
    return frozenset(names([*project["dependencies"], *(one for extra in extras for one in optional[extra])]))


def names(texts: Collection[str]) -> Iterator[str]:
    """Yield the normalized names (PEP 503) of requirements such as `PyYAML>=6; python_version < "3.12"`."""
    for text in texts:
        found = _NAME.match(text)
        assert found, text
        yield normalized(found[0])


def normalized(name: str) -> str:
    """Normalize a name as package indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(pins: Mapping[str, Pin], roots: Collection[str], pruned: Mapping[str, Collection[str]]) -> list[Pin]:
    """Return the pins of `roots` and of all that they require, sorted by name.

    Args:
        pins: The lock.
        roots: Names to start from.
        pruned: By name of a package, what the file of it that is installed requires, if that is less than in the lock.
    """
    wanted, todo = set(roots), list(roots)
    while todo:
        parent = todo.pop()
        new = {pin.name for pin in pins.values() if parent in pin.parents} - wanted
        new &= set(pruned.get(parent, new))
        wanted |= new
        todo += new
    return [pins[name] for name in sorted(wanted & pins.keys())]
