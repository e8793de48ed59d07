"""The project as others install it: a wheel, and an editable installation, used from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

import panoptic_segformer
from tests.panoptic_segformer.made_model import photo
from tests.panoptic_segformer.programs import ROOT

pytestmark = pytest.mark.slow

BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
PACKAGES = ("panoptic_segformer", "panoptic", "model", "cluster", "stages", "pipelines", "benchmarks")
DATA = {
    "cluster/job.sh",
    "model/weights/official/coco_categories.json",
    "panoptic_segformer/serve/page.html",
    "pipelines/browse/mongod.txt",
    "pipelines/browse/plugin.js",
    *(f"model/published/tables/{table.name}" for table in (ROOT / "model/published/tables").glob("*.csv")),
    *(f"panoptic/report/{page.name}" for page in (ROOT / "panoptic/report").glob("*.html")),
    *(f"{package}/py.typed" for package in PACKAGES),
}
PREDICT = """
import sys, numpy as np, panoptic_segformer, model
result = panoptic_segformer.load(sys.argv[1])("photo.png")
np.save("ids.npy", result.ids)
print(panoptic_segformer.__file__, model.__file__, sep="\\n")
"""


def run(*command: object, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment | variables)


def source_at(folder: Path) -> Path:
    """Copy what the project is built from, without what has been compiled."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder)
    return folder


def environment_at(folder: Path) -> Path:
    """Make an environment that has the packages of this one, but not this project."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def install(programs: Path, *arguments: object, folder: Path, **variables: str) -> None:
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps", "--no-index")
    done = run(*pip, "--no-build-isolation", *arguments, folder=folder, **variables)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with a photo, and with one of somebody else's that is called `model`."""
    folder = tmp_path / "elsewhere"
    (folder / "model").mkdir(parents=True)
    photo(0).save(folder / "photo.png")
    return folder


def require_use(programs: Path, weights: Path, elsewhere: Path, installed: Path) -> None:
    """Check that a prediction in `elsewhere` runs the installed code, and is that of this checkout."""
    done = run(programs / "python", "-c", PREDICT, weights, folder=elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(installed / name / "__init__.py") for name in ("panoptic_segformer", "model")]
    expected = panoptic_segformer.load(weights)(elsewhere / "photo.png").ids
    np.testing.assert_array_equal(np.load(elsewhere / "ids.npy"), expected)
    assert run(programs / "panoptic", "--version", folder=elsewhere).stdout == "panoptic 0.1.0\n"
    results = run(programs / "panoptic", "results", folder=elsewhere)
    assert (results.returncode, results.stdout) == (2, "")
    assert results.stderr.startswith(f"error: {elsewhere}: is no checkout of the project")


def test_a_wheel_holds_everything_and_predicts_elsewhere(tmp_path: Path, weights: Path, elsewhere: Path) -> None:
    source = source_at(tmp_path / "source")
    build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir")
    done = run(*build, tmp_path, ".", folder=source)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    compiled = {name for name in held if name.endswith(".so")}
    assert len(compiled) in (0, 3), "all or, without a compiler, none"
    code = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py*")
        if path.suffix in (".py", ".pyi")
        and (package != "benchmarks" or path.parent.name in ("benchmarks", "harness", "plan"))
    }
    assert held - compiled == code | DATA
    programs = environment_at(tmp_path / "environment")
    install(programs, wheel, folder=tmp_path)
    (packages,) = tmp_path.glob("environment/lib/python*/site-packages")
    require_use(programs, weights, elsewhere, packages)


def test_an_editable_installation_predicts_elsewhere_also_without_a_compiler(
    tmp_path: Path, weights: Path, elsewhere: Path
) -> None:
    source = source_at(tmp_path / "source")
    programs = environment_at(tmp_path / "environment")
    install(programs, "--editable", ".", folder=source, CC="false", CXX="false")
    assert not list(source.rglob("*.so"))
    require_use(programs, weights, elsewhere, source)
