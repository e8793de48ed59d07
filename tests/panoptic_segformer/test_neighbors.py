"""Other packages of the same names, in the current folder or earlier in Python's path."""

from pathlib import Path

import pytest

from tests.panoptic_segformer.programs import ROOT, run_python


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with a package `model` of somebody else."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").touch()
    return tmp_path


def test_a_folder_of_files_in_the_current_folder_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").touch()
    done = run_python("-m", "panoptic_segformer", "check", "nothing", folder=tmp_path)
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "error")
    assert "nothing" in done.stderr


def test_a_package_in_the_current_folder_is_named(other: Path) -> None:
    done = run_python("-m", "panoptic_segformer", "check", ".", folder=other)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: panoptic_segformer needs its own package 'model', {ROOT / 'model'}, but ")
    assert f"is {other / 'model' / '__init__.py'}; rename that one, run from another folder, or put" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_package_earlier_in_the_path_is_named(other: Path) -> None:
    (other / "elsewhere").mkdir()
    load = "import panoptic_segformer; panoptic_segformer.load('x')"
    done = run_python("-c", load, folder=other / "elsewhere", path=(other, ROOT))
    assert done.stderr.splitlines()[-1].startswith("ImportError: panoptic_segformer needs its own package 'model'")
    done = run_python("-c", load, folder=other / "elsewhere", path=(ROOT, other))
    assert done.stderr.splitlines()[-1].startswith("ValueError: x: no such weights")


def test_the_help_needs_no_neighbors(other: Path) -> None:
    done = run_python("-m", "panoptic_segformer", folder=other)
    assert (done.returncode, done.stderr) == (0, "")
