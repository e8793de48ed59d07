"""A flow's temporary server starts, privately, or ends the flow at once with its last words."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.process.private_folder import make_private


def reproduce(project: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.reproduce", "--stages", "zero"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def rights(folder: Path) -> dict[str, int]:
    """Return the permissions of a folder and everything in it."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}


def test_a_server_that_dies_at_its_start_ends_the_flow_with_its_last_words(
    project: Path, alone: dict[str, str]
) -> None:
    home = Path(alone["PREFECT_HOME"])
    home.mkdir()
    (home / "prefect.db").write_text("no database")
    done = reproduce(project, alone | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "100000"})
    assert done.returncode == 1
    message = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert message[0].startswith("error: Prefect's temporary server did not start: `uvicorn ")
    assert message[0].endswith("` ended with status 3; its last output:")
    assert "file is not a database" in done.stderr
    assert len(done.stderr.splitlines()) < 15
    assert not (project / "ran").exists()


def test_what_the_server_writes_is_for_its_owner_alone(project: Path, alone: dict[str, str]) -> None:
    home = Path(alone["PREFECT_HOME"])
    done = reproduce(project, alone)
    assert done.returncode == 0, done.stderr
    found = rights(home)
    assert found.pop(home.name) == 0o700
    assert found.pop("storage", 0o700) & 0o700 == 0o700  # Prefect's own, in a folder that nobody else can enter
    assert found["prefect.db"] == 0o600
    assert set(found.values()) == {0o600}, found
    assert (project / "first").stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_existing_home_is_closed_to_others(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "storage").mkdir(parents=True)
    elsewhere.touch(0o644)
    for name in ("prefect.db", "prefect.db-wal", "prefect.db-shm", "server.log", "storage/result"):
        (home / name).touch(0o644)
    (home / "link").symlink_to(elsewhere)
    home.chmod(0o755)
    make_private(home, "")
    assert rights(home) | rights(home / "storage") == {
        **dict.fromkeys(("home", "storage"), 0o700),
        **dict.fromkeys(("prefect.db", "prefect.db-wal", "prefect.db-shm", "server.log", "result"), 0o600),
        "link": elsewhere.stat().st_mode & 0o777,
    }


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(ValueError, match=r"home cannot be written \(File exists\); take another$"):
        make_private(tmp_path / "home", "take another")
