"""Where a compiler works, every C++ core is there: without one, its tests would be skipped and all else be slower."""

import os
import subprocess
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORES = ("panoptic.evaluation._overlaps", "panoptic.io._png", "model.ops._ms_deform_attn")


def test_every_core_is_named_here() -> None:
    sources = [path for room in ("panoptic", "model") for path in (ROOT / room).rglob("_*.cpp")]
    assert sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources) == sorted(CORES)


@pytest.mark.parametrize("core", CORES)
def test_the_core_is_built_where_a_compiler_works(core: str, tmp_path: Path) -> None:
    if said := why_no_compiler(tmp_path):
        pytest.skip(f"there is no working C++ compiler: {said}")
    file = import_module(core).__file__
    assert file is not None
    assert Path(file).parent == ROOT.joinpath(*core.split(".")).parent


def why_no_compiler(folder: Path) -> str:
    """Explain why a library with a function of C++ cannot be built; empty if it can."""
    compiler = (os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++").split()
    (folder / "one.cpp").write_text("#include <vector>\nint one() { return std::vector<int>{1}.back(); }\n")
    command = [*compiler, "-std=c++17", "-shared", "-fPIC", str(folder / "one.cpp"), "-o", str(folder / "one.so")]
    try:
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return built.stderr if built.returncode else ""
