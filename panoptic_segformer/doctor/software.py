"""Inspecting the packages of an installation: those that are missing, fail on import, or are not used."""

import base64
import hashlib
import json
import platform
import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, files, requires, version
from pathlib import Path
from shutil import which

from panoptic_segformer.commands import COMMANDS, DISTRIBUTION, installed_version
from panoptic_segformer.doctor.finding import Finding, ask, ask_module
from panoptic_segformer.neighbors import NEIGHBORS, require_own_neighbors

_FOLDER = Path(__file__).resolve().parents[2]
_IMPORT_SECONDS = 60.0
_CORES = {
    "panoptic.io._png": "reading id maps",
    "panoptic.evaluation._overlaps": "evaluation",
    "model.ops._ms_deform_attn": "networks on a CPU",
}
"""Compiled modules, and what is slower without one."""
_OPERATOR = "model.ops.backends"
_OPTIONAL = {
    "mmcv": "one of the backends of deformable attention on GPUs",
    "onnxruntime": "running exported models",
    "dvc": "`make run`",
    "prefect": "flows",
    "fiftyone": "`make browse`",
}


def inspect_software() -> Iterator[Finding]:
    """Yield the findings."""
    yield _package()
    yield _neighbors()
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}, {sys.executable}")
    yield _requirements()
    answers = _import("torch", "cv2", *_CORES, _OPERATOR)
    yield from _torch(answers["torch"])
    yield _opencv(answers["cv2"])
    yield from (_core(name, answers[name]) for name in _CORES)
    yield _operator(answers[_OPERATOR])
    yield from (_optional(name, use) for name, use in _OPTIONAL.items())
    yield _git()


def _package() -> Finding:
    found = installed_version()
    if found is None:
        said = f"runs from {_FOLDER}, without installation"
        return Finding(
            "package", "warning", said, "`make install` there, or `pip install .`, gives the command panoptic"
        )
    return Finding("package", "ok", f"{DISTRIBUTION} {found}, {_FOLDER}")


def _neighbors() -> Finding:
    names = dict.fromkeys((*NEIGHBORS, *(command.module.partition(".")[0] for command in COMMANDS.values())))
    try:
        require_own_neighbors(names)
    except ImportError as error:
        said, _, hint = str(error).partition("; ")
        return Finding("own packages", "problem", said, hint)
    if damaged := sorted({*_changed_files(names), *_unreadable_code(names)}):
        more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        return Finding("own packages", "problem", f"damaged: {', '.join(damaged[:3])}{more}", "install them again")
    return Finding("own packages", "ok", ", ".join(names))


def _changed_files(names: Container[str]) -> Iterator[str]:
    """Yield the files of packages that differ from what was installed; those of a checkout are not listed."""
    try:
        listed = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        return
    for file in listed:
        if file.hash is None or file.parts[0] not in names:
            continue
        try:
            digest = hashlib.new(file.hash.mode, Path(str(file.locate())).read_bytes()).digest()
        except OSError:
            yield str(file)
        else:
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                yield str(file)


def _unreadable_code(names: Iterable[str]) -> Iterator[str]:
    for path in sorted(path for name in names for path in (_FOLDER / name).rglob("*.py")):
        try:
            compile(path.read_bytes(), path, "exec")
        except (OSError, SyntaxError, ValueError):
            yield str(path.relative_to(_FOLDER))


def _requirements() -> Finding:
    try:
        needed = [one for one in requires(DISTRIBUTION) or () if "extra ==" not in one]
    except PackageNotFoundError:
        return Finding("requirements", "warning", "not known, as the package is not installed", "`make install`")
    names = [found[0] for one in needed if (found := re.match(r"[\w.-]+", one))]
    if missing := [name for name in names if _version(name) is None]:
        return Finding("requirements", "problem", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    if unfit := list(_of_another_version(needed)):
        return Finding("requirements", "problem", f"of another version: {', '.join(unfit)}", "`make install`")
    return Finding("requirements", "ok", f"all {len(names)} packages are installed")


def _of_another_version(needed: Iterable[str]) -> Iterator[str]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return
    for one in map(Requirement, needed):
        found = version(one.name)
        if not one.specifier.contains(found, prereleases=True):
            yield f"{one.name} {found} instead of {one.specifier}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _import(*names: str) -> Mapping[str, dict[str, object]]:
    """Return how the import of each module went; `error` says why one failed."""
    answers: dict[str, dict[str, object]] = {}
    while waiting := [name for name in names if name not in answers]:
        for line in ask_module("panoptic_segformer.doctor.imports", _IMPORT_SECONDS, json.dumps(waiting)).splitlines():
            if line.startswith('{"name"'):  # packages may print as well
                answer = json.loads(line)
                answers[answer["name"]] = answer
        if lost := next((name for name in waiting if name not in answers), None):
            answers[lost] = {"error": f"the import crashed, or took more than {_IMPORT_SECONDS:.0f} s"}
    return answers


def _torch(answer: Mapping[str, object]) -> Iterator[Finding]:
    if "error" in answer:
        yield Finding("torch", "problem", str(answer["error"]), "install PyTorch as https://pytorch.org says")
        return
    built_for = f"CUDA {answer['cuda']}" if answer["cuda"] else "CPUs alone"
    yield Finding("torch", "ok", f"{answer['version']}, built for {built_for}")
    gpus = answer["gpus"]
    assert isinstance(gpus, list)
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    seen = [line.strip() for line in (ask(query, 10) or "").splitlines() if line.strip()]
    drivers = sorted({line.rpartition(", ")[2] for line in seen})
    if gpus:
        yield Finding("GPUs", "ok", f"{'; '.join(gpus)}; driver {', '.join(drivers) or 'unknown'}")
    elif seen:
        hint = "install the torch for CUDA" if not answer["cuda"] else "update the driver, or see `nvidia-smi`"
        yield Finding("GPUs", "warning", f"torch cannot use {'; '.join(seen)}", hint)
    else:
        yield Finding("GPUs", "ok", "none: networks run on the CPU")


def _opencv(answer: Mapping[str, object]) -> Finding:
    if "error" in answer:
        hint = "pip install --force-reinstall opencv-python-headless"
        return Finding("opencv", "problem", str(answer["error"]), hint)
    return Finding("opencv", "ok", str(answer["version"]))


def _core(name: str, answer: Mapping[str, object]) -> Finding:
    if "error" in answer:
        hint = "install a C++ compiler, then repeat `make install`, or the installation by pip"
        return Finding(f"C++ {name}", "warning", f"{answer['error']}; {_CORES[name]} will be slower", hint)
    return Finding(f"C++ {name}", "ok", "compiled")


def _operator(answer: Mapping[str, object]) -> Finding:
    if "error" in answer:
        hint = "see the lines above, or the value of PANOPTIC_OPS"
        return Finding("deformable attention", "problem", str(answer["error"]), hint)
    backends = answer["backends"]
    assert isinstance(backends, dict)
    return Finding("deformable attention", "ok", ", ".join(f"{name} on {device}" for device, name in backends.items()))


def _optional(name: str, use: str) -> Finding:
    return Finding(name, "ok", _version(name) or f"not installed; {use} would need it")


def _git() -> Finding:
    if which("git") is None:
        return Finding("git", "warning", "not found", "install git: sweeps and the passports of weights need it")
    return Finding("git", "ok", (ask(("git", "--version"), 10) or "").strip().removeprefix("git version "))
