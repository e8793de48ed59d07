"""The compiled cores once more, with the address and undefined-behavior sanitizers of the compiler."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORES = ("panoptic/io/_png", "panoptic/evaluation/_overlaps", "model/ops/_ms_deform_attn")
_SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", *(f"{core}.cpp" for core in CORES))
_FLAGS = "-g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
_LIBRARIES = ("libasan.so", "libubsan.so", "libstdc++.so")  # the last one, for what the first does with exceptions
_FOLDER = "PANOPTIC_SANITIZED"
_OPTIONS = {
    # Small blocks are the allocator's own, too, so that a step beyond the bytes of a Python object is seen.
    "PYTHONMALLOC": "malloc",
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4000:hard_rss_limit_mb=6000",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "OMP_NUM_THREADS": "1",
}


class BuildError(RuntimeError):
    """The cores could not be built with sanitizers."""


def build() -> Path:
    """Build the cores as setup.py does, but with sanitizers, below build/; return the folder, which is reused.

    Raises `BuildError` with the output of the compiler.
    """
    digest = hashlib.sha256(_FLAGS.encode())
    for source in _SOURCES:
        digest.update((ROOT / source).read_bytes())
    folder = ROOT / "build" / "sanitized" / digest.hexdigest()[:16]
    if _built(folder):
        return folder
    shutil.rmtree(folder.parent, ignore_errors=True)
    for source in _SOURCES:
        (folder / "sources" / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, folder / "sources" / source)
    recipe = folder / "sources" / "setup.py"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("-O3", "-O1"), encoding="utf-8")  # builds sooner
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--no-cache-dir"]
    if importlib.util.find_spec("pybind11"):  # otherwise pip fetches it for this build
        pip.append("--no-build-isolation")
    done = subprocess.run(
        [*pip, "--target", folder, f"{folder}/sources"],
        env=os.environ | {"CFLAGS": _FLAGS, "CXXFLAGS": _FLAGS, "LDFLAGS": _FLAGS},
        capture_output=True,
        text=True,
    )
    if not _built(folder):
        raise BuildError(
            "the cores could not be built with sanitizers; install g++ with libasan and libubsan, or give --plain:\n"
            f"{done.stdout}{done.stderr}"
        )
    return folder


def restart_with(folder: Path, module: str) -> None:
    """Run this program anew with the cores of `folder`; return in the program that has them."""
    if os.environ.get(_FOLDER) == str(folder):
        _use(folder)
        return
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    assert compiler
    named = ([compiler, f"-print-file-name={library}"] for library in _LIBRARIES)
    paths = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for command in named]
    environment = os.environ | _OPTIONS | {_FOLDER: str(folder), "LD_PRELOAD": " ".join(paths)}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)


def _built(folder: Path) -> bool:
    files = [file for core in CORES for file in folder.glob(f"{core}.*.so")]
    return len(files) == len(CORES) and all(b"__asan_init" in file.read_bytes() for file in files)


def _use(folder: Path) -> None:
    """Import the cores from `folder` under their names, before anything imports the others."""
    for core in CORES:
        (file,) = folder.glob(f"{core}.*.so")
        name = core.replace("/", ".")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec
        assert spec.loader
        assert name not in sys.modules
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
