"""The identity of resumable work: every part of it counts, and where the work is done does not."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from panoptic.runtime.fingerprint import PROJECT, file_signature, resume_identity


@dataclass(frozen=True)
class _Settings:
    rate: float = 1e-3
    sizes: list[int] = field(default_factory=lambda: [1, 2])


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / "images" / "below").mkdir(parents=True)
    for name in ("index", "code.py", "images/1.png", "images/below/2.png"):
        (tmp_path / "work" / name).write_text(name)
    return tmp_path / "work"


def _identity(work: Path, settings: object = _Settings(), used: bool = True, libraries: tuple[str, ...] = ()) -> str:
    files = [work / "index" if used else None]
    return resume_identity({"train": settings}, files, [work / "images"], libraries=libraries)


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
    monkeypatch.setattr("panoptic.runtime.fingerprint.PROJECT", work)
    for content in ("1", "2"):
        (work / "code.py").write_text(content)
        identities.append(resume_identity({}, code=[work / "code.py"]))
    assert len(set(identities)) == len(identities)


def test_a_signature_covers_all_files_below_a_folder(work: Path) -> None:
    assert file_signature(work / "images").keys() == {"1.png", "below/2.png"}
    assert file_signature(work / "index").keys() == {"index"}


def test_code_is_known_in_a_checkout_of_links(tmp_path: Path) -> None:
    (tmp_path / "panoptic").symlink_to(PROJECT / "panoptic")
    program = """
from pathlib import Path
from panoptic.runtime import fingerprint
print(*fingerprint.code_digests(), *fingerprint.code_digests([Path(fingerprint.__file__)]), sep="\\n")
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines().count("panoptic/runtime/fingerprint.py") == 2


def test_litter_of_an_operating_system_changes_no_signature(tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "a.png").write_bytes(b"a")
    before = file_signature(tmp_path / "data")
    assert list(before) == ["sub/a.png"]
    (tmp_path / "data" / ".DS_Store").write_bytes(b"Finder")
    (tmp_path / "data" / "sub" / "._a.png").write_bytes(b"macOS")
    (tmp_path / "data" / "gone.png").symlink_to("/nonexistent")
    assert file_signature(tmp_path / "data") == before
    (tmp_path / "data" / "sub" / "b.png").write_bytes(b"b")
    assert file_signature(tmp_path / "data") != before
