"""The arrows between the folders, and that DVC knows every file that a stage runs.

Read from the source with `ast`, without importing anything: an import inside a function counts as well.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "panoptic": {"panoptic"},
    "model": {"model", "panoptic"},
    "cluster": {"cluster"},  # starts a module by its name
    "stages": {"stages", "model", "panoptic", "cluster"},
    "pipelines": {"pipelines"},  # flows know the stages by name only
    "benchmarks": {"benchmarks", "pipelines", "stages", "model", "panoptic"},
}
# In stages/, but no stage: what concerns several of them.
SHARED = {"__init__", "check_settings", "settings"}
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem not in SHARED)


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported.relative_to(ROOT)}"
        for folder, allowed in ALLOWED.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        for imported in imported_files(path)
        if imported.relative_to(ROOT).parts[0] not in allowed
    ]
    assert not wrong, f"imports may go pipelines -> stages -> model -> panoptic only: {'; '.join(wrong)}"


def test_every_module_in_stages_is_a_stage_of_dvc() -> None:
    assert sorted(dvc_stages()) == STAGES


def test_every_stage_runs_its_own_module() -> None:
    for name, stage in dvc_stages().items():
        assert str(stage["cmd"]).split()[:3] == ["python", "-m", f"stages.{name}"]


@pytest.mark.parametrize("name", STAGES)
def test_deps_of_a_stage_cover_all_code_that_it_imports(name: str) -> None:
    deps = code_deps(name)
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(closure(ROOT / "stages" / f"{name}.py"))
        if not any(path == dep or dep in path.parents for dep in deps)
    ]
    assert not missing, f"dvc.yaml: list under deps of '{name}': {', '.join(missing)}"


@pytest.mark.parametrize("name", STAGES)
def test_deps_of_a_stage_name_no_code_that_it_does_not_import(name: str) -> None:
    used = closure(ROOT / "stages" / f"{name}.py")
    idle = [
        dep.relative_to(ROOT).as_posix()
        for dep in code_deps(name)
        if not any(path == dep or dep in path.parents for path in used)
    ]
    assert not idle, f"dvc.yaml: '{name}' would run again for a change in files it does not use: {', '.join(idle)}"


def test_pictures_and_metrics_do_not_make_trained_weights_out_of_date() -> None:
    trained_with = {path.relative_to(ROOT).as_posix() for path in closure(ROOT / "stages" / "train.py")}
    assert not trained_with & {
        "panoptic/quality.py",
        "panoptic/overlaps.py",
        "panoptic/scoring.py",
        "panoptic/pictures.py",
    }


def dvc_stages() -> dict[str, dict[str, object]]:
    """The stages of dvc.yaml by name."""
    stages: dict[str, dict[str, object]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


def code_deps(name: str) -> list[Path]:
    """The deps of a stage that lie in the folders with code."""
    deps = dvc_stages()[name].get("deps", [])
    assert isinstance(deps, list)
    return [ROOT / dep for dep in deps if Path(dep).parts[0] in ALLOWED]


def closure(path: Path) -> set[Path]:
    """A file of the project, and all others that importing it runs."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += imported_files(current)
    return seen


@cache
def imported_files(path: Path) -> tuple[Path, ...]:
    """The files of the project that one file imports itself, with the `__init__.py` of every package on the way."""
    files: set[Path] = set(packages_of(path))
    for module in imported_modules(path) if path.suffix == ".py" else ():
        target = ROOT.joinpath(*module.split("."))
        # What is compiled stands for itself: it imports nothing.
        for candidate in (target.with_suffix(".py"), target.with_suffix(".cpp"), target / "__init__.py"):
            if candidate.is_file():
                files |= {candidate, *packages_of(candidate)}
    return tuple(sorted(files - {path}))


def imported_modules(path: Path) -> Iterator[str]:
    """The names in import statements; `from a import b` gives `a` and `a.b`, of which one may be no module."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the full name"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(path: Path) -> list[Path]:
    """The `__init__.py` files that run before a file is imported."""
    folders = path.relative_to(ROOT).parents
    return [ROOT / folder / "__init__.py" for folder in folders if (ROOT / folder / "__init__.py").is_file()]
