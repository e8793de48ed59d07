"""Resumable work: every part of its identity counts, where it is done does not, and what keeps it back is said."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from panoptic.runtime import fingerprint
from panoptic.runtime.resume import ResumeIdentity, find_unfinished, note_progress, open_work, resume_identity
from panoptic.runtime.settings import NO_INFLUENCE


@dataclass(frozen=True)
class _Settings:
    rate: float = 1e-3
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    workers: int = field(default=0, metadata=NO_INFLUENCE)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / "images" / "below").mkdir(parents=True)
    for name in ("index", "code.py", "images/1.png", "images/below/2.png"):
        (tmp_path / "work" / name).write_text(name)
    return tmp_path / "work"


def _identity(
    work: Path, settings: object = _Settings(), used: bool = True, libraries: tuple[str, ...] = ()
) -> ResumeIdentity:
    files = {"index": work / "index" if used else None}
    return resume_identity({"train": settings}, files, {"images": work / "images"}, [], libraries)


def test_equal_work_has_one_identity_in_any_folder(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "copy")  # with the times
    assert _identity(work) == _identity(tmp_path / "copy") == _identity(work, _Settings(sizes=[1, 2]))


def test_every_part_counts(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identities = [_identity(work), _identity(work, _Settings(2e-3)), _identity(work, used=False)]
    identities.append(_identity(work, libraries=("numpy",)))
    (work / "images" / "below" / "2.png").write_text("longer than before")
    identities.append(_identity(work))
    (work / "index").write_text("other")
    identities.append(_identity(work))
    monkeypatch.setattr(fingerprint, "PROJECT", work)
    for content in ("1", "2"):
        (work / "code.py").write_text(content)
        identities.append(resume_identity({}, code=[work / "code.py"]))
    assert len({identity.name for identity in identities}) == len(identities)


def test_a_setting_without_influence_does_not_count(work: Path) -> None:
    assert _identity(work) == _identity(work, _Settings(workers=3))
    assert "train.workers" not in _identity(work).settings


def test_changes_are_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "PROJECT", work)
    earlier = resume_identity({"train": _Settings()}, {"index": work / "index"}, {}, [work / "code.py"])
    for name in ("index", "code.py"):
        (work / name).write_text("other")
    now = resume_identity({"train": _Settings(2e-3)}, {"index": work / "index"}, {}, [work / "code.py"])
    expected = ["train.rate 0.001 -> 0.002", "index changed", "code in . changed"]
    assert now.changes_since(earlier) == expected
    assert now.changes_since(now) == []


def test_the_newest_work_of_the_same_stage_is_compared(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    folder = open_work(state, "train", _identity(work))
    assert capsys.readouterr().out == ""
    (folder / "state.pt").write_text("weights")
    note_progress(folder, "step 3 of 8")
    open_work(state, "annotate", _identity(work))
    assert capsys.readouterr().out == "", "another stage"
    assert open_work(state, "train", _identity(work, _Settings(workers=2))) == folder
    assert capsys.readouterr().out == "", "the same work"
    other = open_work(state, "train", _identity(work, _Settings(2e-3)))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert f"{folder} (step 3 of 8, " in said
    assert "because of a change since: train.rate 0.001 -> 0.002. This run starts from the beginning" in said
    assert f"python -m panoptic.tools.unfinished --state {state} --delete {folder.name}" in said
    assert {found.folder for found in find_unfinished(state) if found.results()} == {folder}
    assert other.parent == state


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("0123456789abcdef", "[]"),
        ("train-0123456789abcdef", ""),
        ("train-0123456789abcdef", '{"settings": 1, "files": {}, "data": {}, "code": {}, "libraries": {}}'),
    ],
)
def test_work_of_an_earlier_version_is_named(
    name: str, note: str, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "state" / name
    old.mkdir(parents=True)
    (old / "identity.json").write_text(note)
    (old / "state.pt").write_text("weights")
    open_work(tmp_path / "state", "train", _identity(work))
    assert "left by another version of the project" in capsys.readouterr().out
