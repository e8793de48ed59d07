"""Measures of the files of a revision, read without importing any of them."""

import ast
import io
import re
import subprocess
import sys
import tarfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from resource import RUSAGE_CHILDREN, getrusage

import yaml

CODE = {"benchmarks", "cluster", "conformance", "model", "panoptic", "pipelines", "stages"}
SOURCES = {".py", ".cpp", ".cu"}


@dataclass(frozen=True)
class Revision:
    """The texts of a revision's files by their paths; `None` names the working tree."""

    name: str | None
    texts: dict[PurePosixPath, str]

    @classmethod
    def read(cls, name: str | None) -> "Revision":
        """Read all text files of a commit, or those of the working tree that git does not ignore.

        Raises:
            ValueError: git knows no such commit.
        """
        if name is None:
            listed = _git("ls-files", "--cached", "--others", "--exclude-standard").decode().splitlines()
            files = ((path, Path(path).read_bytes()) for path in listed if Path(path).is_file())
            return cls(None, dict(_texts(files)))
        with tarfile.open(fileobj=io.BytesIO(_git("archive", name))) as archive:
            members = ((member.name, archive.extractfile(member)) for member in archive if member.isfile())
            return cls(name, dict(_texts((path, file.read()) for path, file in members if file)))

    @property
    def source(self) -> dict[PurePosixPath, str]:
        """Source files outside tests/."""
        return {path: text for path, text in self.texts.items() if path.suffix in SOURCES and path.parts[0] != "tests"}

    @property
    def python(self) -> dict[PurePosixPath, str]:
        """Python files outside tests/."""
        return {path: text for path, text in self.source.items() if path.suffix == ".py"}


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], capture_output=True)
    if done.returncode:
        said = done.stderr.decode().strip() or f"ended with status {done.returncode} without a message"
        raise ValueError(f"git {' '.join(arguments)}: {said}")
    return done.stdout


def _texts(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[PurePosixPath, str]]:
    for path, data in files:
        if PurePosixPath(path).suffix in {*SOURCES, ".yaml", ".md"}:
            yield PurePosixPath(path), data.decode()


def measure(revision: Revision) -> dict[str, float | None]:
    """Return all measures by their names; None for one that cannot be taken of a revision."""
    folders = Counter(path.parent for path in revision.python if path.parts[0] in CODE)
    functions = sorted(function_lines(revision))
    recipes = [
        text for path, text in revision.texts.items() if path.suffix == ".yaml" and path.parts[0] == "experiments"
    ]
    names = [name for text in revision.python.values() for name in identifiers(text)]
    return {
        "Python files in the largest folder": max(folders.values()),
        "code deps in dvc.yaml": len(code_deps(revision)),
        "lines of .py, .cpp and .cu outside tests": sum(_lines(text) for text in revision.source.values()),
        "files of .py, .cpp and .cu outside tests": len(revision.source),
        "lines of recipes (experiments/)": sum(map(_lines, recipes)),
        "identifiers with `picture`": sum("picture" in name for name in names),
        "identifiers with `truth`, not `ground_truth`": sum("truth" in _without_ground_truth(name) for name in names),
        "identifiers with `account`": sum("account" in name for name in names),
        "lines of a function, 95th percentile": functions[len(functions) * 95 // 100],
        "lines of a function, longest": functions[-1],
        "lines of README.md": _lines(revision.texts[PurePosixPath("README.md")]),
        "CPU seconds of `python -m stages.predict --help`": None if revision.name else help_seconds(),
    }


def function_lines(revision: Revision) -> Iterator[int]:
    """Yield the lines of every function, decorators not included."""
    for text in revision.python.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (node.end_lineno or node.lineno) - node.lineno + 1


def identifiers(text: str) -> Iterator[str]:
    """Yield every occurrence of a name in Python source, in lower case."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string.lower()


def _without_ground_truth(name: str) -> str:
    return re.sub("ground_?truth", "", name)


def code_deps(revision: Revision) -> list[str]:
    """List the files and folders of code that the stages of dvc.yaml depend on, once for each stage."""
    stages = yaml.safe_load(revision.texts[PurePosixPath("dvc.yaml")])["stages"].values()
    return [dep for stage in stages for dep in stage.get("deps", []) if PurePosixPath(dep).parts[0] in CODE]


def help_seconds() -> float:
    """Return the CPU time of a command that only prints its help: that of its imports."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "stages.predict", "--help"], stdout=subprocess.DEVNULL, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _lines(text: str) -> int:
    return text.count("\n")
