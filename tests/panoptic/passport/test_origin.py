"""The code of a run can be had from its commit and the uncommitted changes in its passport."""

import base64
import zlib
from pathlib import Path

import pytest

from panoptic.io.json_fields import JsonObject
from panoptic.passport import origin
from panoptic.passport.origin import describe_code, materialize
from tests.model.verify.small_runs import commit, run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "model").mkdir(parents=True)
    (folder / "model/kept.py").write_text("one = 1\n")
    (folder / "requirements.lock").write_text("numpy==1\n")
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    commit(folder, "Begin")
    return folder


def described(repository: Path) -> JsonObject:
    return JsonObject.of(describe_code(repository, {}), "code")


def test_committed_code_has_no_diff(repository: Path, tmp_path: Path) -> None:
    code = described(repository)
    assert code.text("commit") == run(repository, "git", "rev-parse", "HEAD").strip()
    assert code.child("diff").integer("bytes") == 0
    assert materialize(repository, code, tmp_path) is None
    assert (tmp_path / "model/kept.py").read_text() == "one = 1\n"


def test_changes_and_new_files_come_along_and_git_stays_as_it_was(repository: Path, tmp_path: Path) -> None:
    (repository / "model/kept.py").write_text("one = 2\n")
    (repository / "model/new.py").write_text("two = 2\n")
    (repository / "notes.txt").write_text("not code\n")
    before = run(repository, "git", "status", "--porcelain")
    code = described(repository)
    assert run(repository, "git", "status", "--porcelain") == before
    assert b"not code" not in zlib.decompress(base64.b64decode(code.child("diff").text("zlib")))
    folder = tmp_path / "again"
    folder.mkdir()
    assert materialize(repository, code, folder) is None
    assert (folder / "model/kept.py").read_text() == "one = 2\n"
    assert (folder / "model/new.py").read_text() == "two = 2\n"


def test_changes_that_are_too_large_are_not_forgotten(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "_COPIED_DIFF", 10)
    (repository / "model/kept.py").write_text("one = 2\n")
    code = described(repository)
    assert "commit changes before training" in str(materialize(repository, code, tmp_path))


@pytest.mark.parametrize(
    "change", [{"commit": "--output=x"}, {"diff": {"bytes": 3, "sha256": "00", "zlib": "eJwDAAAAAAE="}}]
)
def test_what_no_run_records_is_refused(repository: Path, tmp_path: Path, change: dict[str, object]) -> None:
    code = JsonObject.of({**described(repository).values, **change}, "code")
    with pytest.raises(ValueError, match="restore the file"):
        materialize(repository, code, tmp_path)


def test_without_git_only_the_digests_are_known(tmp_path: Path) -> None:
    code = described(tmp_path)
    assert not code.has("commit")
    assert "outside of git" in str(materialize(tmp_path, code, tmp_path))


def test_the_repository_around_an_installation_is_not_that_of_the_code(repository: Path) -> None:
    packages = repository / "venv" / "lib" / "site-packages"
    (packages / "model").mkdir(parents=True)
    (packages / "model" / "kept.py").write_text("one = 1\n")
    (repository / ".gitignore").write_text("venv/\n")
    commit(repository, "Ignore the environment")
    code = JsonObject.of(describe_code(packages, {"model/kept.py": "00"}), "code")
    assert code.values["commit"] is None
    assert code.child("diff").integer("bytes") == 0
    assert code.child("files").text("model/kept.py") == "00"
