"""The arrows between the folders, and that DVC knows every file that a stage runs.

Read from the source with `ast`, without importing anything: an import inside a function counts as well.
"""

import ast
import os
import runpy
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from panoptic_segformer.commands import COMMANDS

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "panoptic": {"panoptic"},
    "model": {"model", "panoptic"},
    "panoptic_segformer": {"panoptic_segformer", "model", "panoptic"},  # the facade
    "cluster": {"cluster"},  # starts a module by its name; `LEAVES` are the exceptions
    "stages": {"stages", "model", "panoptic", "cluster"},
    "pipelines": {"pipelines"},  # flows know the stages by name only; `LEAVES` are the exceptions
    "benchmarks": {"benchmarks", "pipelines", "stages", "model", "panoptic"},
    "conformance": {"conformance", "stages", "panoptic"},  # the latter two in `CONFORMANCE_RUNNER` alone
}
# Written by stages.browse and read by pipelines.browse: records of the standard library alone.
RECORDS = "panoptic/error_browser/entries.py"
# Where all programs keep what they are writing, so that one finds what another has left behind.
WORKING_FOLDER = "panoptic/io/working_folder.py"
# How every command ends, and how every file is opened that a user names.
GROUND = (
    "panoptic/runtime/cli.py",
    "panoptic/runtime/text_encoding.py",
    "panoptic/io/errors.py",
    "panoptic/io/printable.py",
    "panoptic/io/reading.py",
)
# What a program that knows the others by name may import of them: modules of the standard library and of each other.
# Settings of jobs have ranges like all others, and flows read files of settings, which may be hostile.
LEAVES = {
    "pipelines": (RECORDS, WORKING_FOLDER, "panoptic/io/yaml_text.py", *GROUND),
    "cluster": (WORKING_FOLDER, "panoptic/runtime/ranges.py"),
}
# The one file of conformance/ that cannot be copied elsewhere.
CONFORMANCE_RUNNER = "conformance/runners/panoptic_pipeline.py"
# The rooms of panoptic/, from the ground up: each imports only those before it.
ROOMS = (
    "io",
    "runtime",
    "markdown",
    "format",
    "index",
    "passport",
    "loggers",
    "data",
    "instances",
    "evaluation",
    "robustness",
    "visualization",
    "error_browser",
    "datasets",
    "report",
    "tools",
)
# The only ones that import by name. Backends of deformable attention are loaded on request, and all are deps of the
# stages, as a folder; a benchmark needs the environment that `stages` sets up; a user's own corruptions are outside the
# project, and the manifest of the corrupted images has the digests of their files. The command `panoptic` starts other
# programs, which it knows by name only, and its doctor tries what can be imported.
BY_NAME = {
    "benchmarks/__init__.py",
    "model/ops/backends.py",
    "panoptic/robustness/corruptions.py",
    "panoptic_segformer/commands.py",
    "panoptic_segformer/doctor/imports.py",
}
# It loads one of its neighbors, whichever runs on the machine, so all of them decide a stage's result.
BACKENDS = ROOT / "model" / "ops" / "backends.py"
# In stages/, but no stage: what concerns several of them.
SHARED = {"__init__", "check_settings", "settings"}
# What commands of `panoptic` call themselves, by their modules.
PROGRAMS = {command.module: f"panoptic {name}" for name, command in COMMANDS.items()} | {
    "panoptic_segformer": "panoptic"
}
# What a module says that reads its task from another program instead of a command line.
READS_TASK = "json.load(sys.stdin)"
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem not in SHARED)


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported.relative_to(ROOT)}"
        for folder, allowed in ALLOWED.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        for imported in imported_files(path)
        if imported.relative_to(ROOT).parts[0] not in allowed
        and imported
        not in {path for leaf in LEAVES.get(folder, ()) for path in (ROOT / leaf, *packages_of(ROOT / leaf))}
    ]
    assert not wrong, f"imports may go pipelines -> stages -> model -> panoptic only: {'; '.join(wrong)}"


@pytest.mark.parametrize(("folder", "leaf"), [(folder, leaf) for folder, leaves in LEAVES.items() for leaf in leaves])
def test_what_is_shared_with_other_programs_imports_nothing_else_of_the_project(folder: str, leaf: str) -> None:
    leaves = {path for other in LEAVES[folder] for path in (ROOT / other, *packages_of(ROOT / other))}
    assert closure(ROOT / leaf) <= leaves


def test_conformance_cases_stand_alone() -> None:
    needy = {
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "conformance").rglob("*.py"))
        if any(imported.relative_to(ROOT).parts[0] != "conformance" for imported in imported_files(path))
    }
    assert needy == {CONFORMANCE_RUNNER}


def test_rooms_of_panoptic_import_downwards_only() -> None:
    rooms = {path.stem for path in (ROOT / "panoptic").iterdir() if not path.name.startswith(("_", ".", "py.typed"))}
    assert rooms == set(ROOMS)
    upwards = [
        f"{path.relative_to(ROOT)} imports {imported.relative_to(ROOT)}"
        for path in sorted((ROOT / "panoptic").rglob("*.py"))
        for imported in imported_files(path)
        if room(path) and room(imported) and ROOMS.index(room(imported)) > ROOMS.index(room(path))
    ]
    assert not upwards, f"rooms of panoptic/ may import those before them in ROOMS only: {'; '.join(upwards)}"


def test_no_stage_imports_tools() -> None:
    tools = {
        f"{name}: {path.relative_to(ROOT)}"
        for name in STAGES
        for path in closure(ROOT / "stages" / f"{name}.py")
        if room(path) == "tools"
    }
    assert not tools, f"a change to a tool would run stages again: {', '.join(sorted(tools))}"


def test_what_a_killed_program_leaves_is_found_by_the_next() -> None:
    own = {"mkdtemp", "mkstemp", "NamedTemporaryFile", "TemporaryDirectory"}
    wrong = {
        path.relative_to(ROOT).as_posix()
        for folder in ("panoptic_segformer", "panoptic", "model", "cluster", "stages", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if getattr(node, "attr", getattr(node, "id", None)) in own
    }
    assert wrong == {WORKING_FOLDER}, f"keep temporary files in a working_folder(): {wrong}"


def test_no_import_of_the_project_is_hidden_in_a_string() -> None:
    hidden = {
        path.relative_to(ROOT).as_posix()
        for folder in ALLOWED
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__", "run_module"}
        and not (node.args and isinstance(name := node.args[0], ast.Constant) and not is_own(str(name.value)))
    }
    assert hidden == BY_NAME, f"import with a statement, which the tests and DVC's deps can see: {hidden ^ BY_NAME}"


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


def test_images_and_metrics_do_not_make_trained_weights_out_of_date() -> None:
    trained_with = {room(path) for path in closure(ROOT / "stages" / "train.py")}
    assert trained_with <= {"", "io", "runtime", "format", "index", "data"}


def commands() -> Iterator[str]:
    """The modules that `python -m` runs, but for workers that read their task from another program."""
    for folder in ALLOWED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if (path.stem == "__main__" or '\nif __name__ == "__main__":\n' in text) and READS_TASK not in text:
                yield path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__main__")


@pytest.mark.filterwarnings("ignore")  # modules are run again that have been imported already
@pytest.mark.parametrize("name", list(commands()))
def test_every_command_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--help` works everywhere, also where a GPU or an extra is missing that the command needs."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setattr(os, "_exit", sys.exit)  # how the error browser ends, past FiftyOne's exit handlers
    with pytest.raises(SystemExit) as end:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert end.value.code in (0, None)
    assert f"usage: {PROGRAMS.get(name, f'python -m {name}')} " in capsys.readouterr().out


def room(path: Path) -> str:
    """The room of panoptic/ that a file is in, empty for all others."""
    folder, _, rest = path.relative_to(ROOT).as_posix().partition("/")
    name = rest.partition("/")[0].removesuffix(".py").removesuffix(".cpp")
    return name if folder == "panoptic" and name != "__init__" else ""


def is_own(module: str) -> bool:
    return module.partition(".")[0] in ALLOWED


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
    if path == BACKENDS:
        files |= {file for file in path.parent.iterdir() if file.suffix in {".py", ".cpp"}}
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
