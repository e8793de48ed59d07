"""requirements.lock pins every installed package and every requirement of pyproject.toml."""

import re
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Not sys.path, to which setuptools adds its vendored packages once it is imported.
SITE_PACKAGES = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
# Installed by `python -m venv`, and the project itself.
NOT_PINNED = {"pip", "setuptools", "panoptic-pipeline"}


def test_every_installed_distribution_has_the_pinned_version() -> None:
    pinned = dict(pins())
    installed = {
        normalized(found.metadata["Name"]): found.version.split("+")[0] for found in distributions(path=SITE_PACKAGES)
    }
    wrong = {
        name: f"{version}, pinned: {pinned.get(name, 'no')}"
        for name, version in sorted(installed.items())
        if name not in NOT_PINNED and pinned.get(name) != version
    }
    assert not wrong, (
        f"requirements.lock and the environment differ: {wrong}; correct the lock, or run `make clean install`"
    )


def test_every_requirement_of_every_extra_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {normalized(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in wanted}
    assert not names - set(dict(pins()))


def test_the_lock_is_sorted_without_duplicates() -> None:
    names = [name for name, _ in pins()]
    assert names == sorted(set(names))


def pins() -> Iterator[tuple[str, str]]:
    """Read name and version from every line of the lock."""
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if not line.startswith("#"):
            found = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert found, f"requirements.lock: {line!r} does not have the form name==version"
            yield normalized(found[1]), found[2]


def normalized(name: str) -> str:
    """Normalize a name as package indexes do (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
