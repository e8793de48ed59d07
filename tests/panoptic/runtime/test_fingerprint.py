"""Fingerprints of folders and of code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from panoptic.runtime import fingerprint
from panoptic.runtime.fingerprint import PROJECT, file_digest, file_signature


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / "images" / "below").mkdir(parents=True)
    for name in ("index", "images/1.png", "images/below/2.png"):
        (tmp_path / "work" / name).write_text(name)
    return tmp_path / "work"


def test_a_signature_covers_all_files_below_a_folder(work: Path) -> None:
    (work / "images" / ".DS_Store").touch()
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


def test_code_is_known_where_it_is_installed_beside_other_packages(tmp_path: Path) -> None:
    packages = tmp_path / "project" / "lib" / "site-packages"
    shutil.copytree(PROJECT / "panoptic" / "runtime", packages / "panoptic" / "runtime")
    shutil.copytree(PROJECT / "panoptic" / "io", packages / "panoptic" / "io")
    (packages / "panoptic" / "__init__.py").touch()
    (packages / "other.py").touch()
    program = (
        "import json, other; from panoptic.runtime import fingerprint; print(json.dumps(fingerprint.code_digests()))"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=True)
    digests = json.loads(found.stdout)
    assert {"panoptic/__init__.py", "panoptic/runtime/fingerprint.py", "panoptic/io/reading.py"} <= digests.keys()
    assert all(name.startswith("panoptic/") for name in digests)
    assert digests["panoptic/runtime/fingerprint.py"] == file_digest(Path(fingerprint.__file__))


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
