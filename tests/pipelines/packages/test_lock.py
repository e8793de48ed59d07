"""An installation takes from the lock what its extras need, and pip refuses files with other digests."""

import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from pipelines.packages.lock import closure, read_lock, requirements

DIGEST = "0" * 64
LOCK = f"""# made by a test
base==1.0 \\
    --hash=sha256:{DIGEST} \\
    --hash=sha256:{DIGEST}
    # via
    #   project (pyproject.toml)
    #   torch
cuda-part==3 ; sys_platform == 'linux' \\
    --hash=sha256:{DIGEST}
    # via torch
deep==1.2.post1 \\
    --hash=sha256:{DIGEST}
    # via extra-one
extra-one==2 \\
    --hash=sha256:{DIGEST}
    # via project (pyproject.toml)
torch==5 \\
    --hash=sha256:{DIGEST}
    # via project (pyproject.toml)
"""
PROJECT = """
[project]
dependencies = ["Base>=1", "torch"]
[project.optional-dependencies]
more = ["Extra.One; python_version > '3'"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return tmp_path


def test_extras_take_what_they_need_and_torch_what_its_build_needs(folder: Path) -> None:
    pins = read_lock(folder / "requirements.lock")

    def names(extras: list[str], of_torch: set[str]) -> list[str]:
        roots = requirements(extras, folder / "pyproject.toml")
        return [pin.name for pin in closure(pins, roots, {"torch": of_torch})]

    assert names([], {"base"}) == ["base", "torch"]
    assert names([], {"base", "cuda-part"}) == ["base", "cuda-part", "torch"]
    assert names(["more"], set()) == ["base", "deep", "extra-one", "torch"]
    digests = f" \\\n    --hash=sha256:{DIGEST}"
    assert str(pins["cuda-part"]) == f"cuda-part==3 ; sys_platform == 'linux'{digests}"
    assert str(pins["base"]) == f"base==1.0{digests}{digests}"


def test_an_extra_that_does_not_exist_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no extra 'les' in .*pyproject\.toml; extras: more"):
        requirements(["les"], folder / "pyproject.toml")


@pytest.mark.parametrize("line", ["plain==1", "two==1 \\\n    --hash=md5:00", "git+https://there"])
def test_a_line_without_digests_is_refused(folder: Path, line: str) -> None:
    (folder / "requirements.lock").write_text(f"{LOCK}{line}\n")
    with pytest.raises(ValueError, match=r"is no part of `name==version` with sha256 digests; run `make lock`"):
        read_lock(folder / "requirements.lock")


def test_pip_refuses_a_file_with_another_digest(tmp_path: Path) -> None:
    wheel = tmp_path / "made-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made.py", "")
        archive.writestr("made-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made\nVersion: 1.0\n")
        archive.writestr("made-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("made-1.0.dist-info/RECORD", "")
    found = sha256(wheel.read_bytes()).hexdigest()
    for digest, status in ((found, 0), (DIGEST, 1)):
        (tmp_path / "lock").write_text(f"made==1.0 \\\n    --hash=sha256:{digest}\n    # via project\n")
        (pin,) = read_lock(tmp_path / "lock").values()
        (tmp_path / "selected").write_text(f"{pin}\n")
        options = ["--no-index", "--require-hashes", "--no-deps", "--target", str(tmp_path / f"to-{status}")]
        command = [sys.executable, "-m", "pip", "install", "--find-links", str(tmp_path), *options]
        done = subprocess.run([*command, "-r", str(tmp_path / "selected")], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
