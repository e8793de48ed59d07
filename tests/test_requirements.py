"""requirements.lock pins every installed package and every requirement of pyproject.toml, with digests."""

import re
import tomllib
from pathlib import Path

from pipelines.packages.installed import installed_packages
from pipelines.packages.lock import LOCK, normalized, read_lock, requirements

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Installed by `python -m venv`, and the project itself.
NOT_PINNED = {"pip", "setuptools", "panoptic-pipeline"}


def test_every_installed_distribution_has_the_pinned_version() -> None:
    pinned = {name: pin.version for name, pin in read_lock(ROOT / LOCK).items()}
    wrong = {
        name: f"{package.version}, pinned: {pinned.get(name, 'no')}"
        for name, package in installed_packages().items()
        if name not in NOT_PINNED and pinned.get(name) != package.version.split("+")[0]
    }
    assert not wrong, f"requirements.lock and the environment differ: {wrong}; run `make lock`, or `make clean install`"


def test_every_requirement_of_every_extra_is_pinned_as_one_of_the_project() -> None:
    wanted = requirements(PROJECT["project"]["optional-dependencies"], ROOT / "pyproject.toml")
    pins = read_lock(ROOT / LOCK)
    assert not wanted - pins.keys()
    assert {name for name, pin in pins.items() if "panoptic-pipeline" in pin.parents} == wanted


def test_build_tools_are_pinned_at_the_versions_of_an_isolated_build() -> None:
    pins = read_lock(ROOT / LOCK)
    for requirement in PROJECT["build-system"]["requires"]:
        name, version = requirement.split("==")
        assert pins[normalized(name)].version == version


def test_every_pin_has_digests_and_the_lock_names_no_index() -> None:
    text = (ROOT / LOCK).read_text()
    assert len(re.findall("^[^ #]", text, re.M)) == len(read_lock(ROOT / LOCK))
    assert "://" not in text
    assert "--index" not in text
