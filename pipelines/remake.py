"""Make a model and its results again from their passport alone, and say whether they are equal.

    python -m pipelines.remake runs/passport.json --into ../again

Clones the commit that the passport names, applies the uncommitted changes that the run had, writes its settings, runs
the stages of DVC without taking any result from its cache, and compares weights, curves and metrics with the passport.
Given again after an interruption, the command resumes. The exit status is 0 if everything is equal, 1 if not.
"""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic.io.reading import read_file
from panoptic.io.working_folder import working_folder
from pipelines.dvc_project.project import DvcProject
from pipelines.dvc_project.workspace import Checkout, GitError, Workspace, git
from pipelines.process.session import CommandError, OutputLine

_FORMAT = "panoptic-passport/1"
_STAGES = {"scores/metrics.json": "evaluate", "robustness/metrics.json": "robustness"}
"""The stage that writes each file of metrics in a passport."""
_INDICES = "annotate"
_TRAINED, _RUNS = Path("runs/train"), Path("runs")
_REPEATABLE = ("weights", "description", "loss curve", "quality curve")


@dataclass(frozen=True)
class Record:
    """The parts of a passport that tell how to make everything again; `results` is None in that of weights."""

    weights: Mapping[str, Any]
    results: Mapping[str, Any] | None

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read a passport. Raises `ValueError` if it is none."""
        try:
            document = json.loads(read_file(path))
            if document["format"] != _FORMAT:
                raise ValueError(f"its format is {document['format']!r}")
            results = document["sections"] if document["type"] == "results" else None
            while document["type"] != "weights":
                document = document["parent"]
            _require_parts(document["sections"])
            return cls(document["sections"], results)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path}: not a passport with that of its weights ({error}); give another file") from None

    def diff(self) -> bytes:
        """Return the uncommitted changes of the run. Raises `ValueError` if the passport does not hold them."""
        described = self.weights["code"]["diff"]
        if not described["bytes"]:
            return b""
        if described["zlib"] is None:
            raise ValueError(
                f"the run had {described['bytes']} bytes of uncommitted changes, too many for its passport, and cannot "
                "be made again without them; commit before training"
            )
        try:
            diff = zlib.decompressobj().decompress(base64.b64decode(described["zlib"]), described["bytes"])
        except (ValueError, TypeError, OverflowError, zlib.error):
            diff = b""
        if hashlib.sha256(diff).hexdigest() != described["sha256"]:
            raise ValueError("the uncommitted changes in the passport are damaged: their digest is another one")
        return diff

    def settings(self) -> dict[str, Any]:
        """Return the sections of params.yaml; of those that only results have, as they were for the results."""
        trained, scored = self.weights["settings"], (self.results or self.weights)["settings"]
        decided = ("train.", "model.")  # what decides the weights
        flat = {name: value for name, value in scored.items() if not name.startswith(decided)}
        flat |= {name: value for name, value in trained.items() if name.startswith(decided)}
        nested: dict[str, Any] = {}
        for name, value in flat.items():
            *parents, key = name.split(".")
            section = nested
            for parent in parents:
                section = section.setdefault(parent, {})
            section[key] = value
        return nested


def _require_parts(sections: Mapping[str, Any]) -> None:
    """Raise `KeyError`, `TypeError` or `AttributeError` if a section lacks what is needed to make a run again."""
    code, machine = sections["code"], sections["machine"]
    _ = code["commit"], code["diff"]["bytes"], code["diff"]["zlib"], code["diff"]["sha256"], machine["threads"]
    _ = sections["settings"].items(), [sections["data"][f"{split} index"]["sha256"] for split in ("train", "val")]
    for described in sections["files"].values():
        _ = described["path"], described["sha256"]


def prepare(record: Record, repository: Path, into: Path) -> DvcProject:
    """Make a clone of the run's code with its settings and data.

    Raises:
        ValueError, CommandError: the code or data cannot be had.
    """
    commit, diff = record.weights["code"]["commit"], record.diff()
    if commit is None:
        raise ValueError("the passport names no commit, because the run was made outside of git; it cannot be cloned")
    checkout = Checkout(repository, commit)
    try:
        checkout.commit()
    except GitError:
        raise ValueError(f"{repository}: no commit {commit}; fetch it, or give --repository") from None
    workspace = Workspace(checkout, into)
    with working_folder() as temporary:
        params = temporary / "params.yaml"
        params.write_text(json.dumps(record.settings(), indent=1) + "\n", encoding="utf-8")  # JSON is YAML
        workspace.prepare(params, checkout.cache(), [_INDICES])
    git(into, "clean", "--quiet", "-fd")  # files of uncommitted changes, from an interrupted remake
    if diff:
        applied = subprocess.run(
            ("git", "apply", "--whitespace=nowarn", "-"), cwd=into, input=diff, capture_output=True
        )
        if applied.returncode:
            raise ValueError(f"the uncommitted changes do not fit commit {commit}: {applied.stderr.decode().strip()}")
    return DvcProject(into)


def reproduce(project: DvcProject, record: Record) -> None:
    """Run the stages, up to those whose metrics are in the passport, and stop early if the data is other data.

    Raises:
        ValueError: the indices are not those of the run.
        CommandError: a stage failed.
    """
    _run(project, record, _INDICES)
    different = []
    for split in ("train", "val"):
        expected = record.weights["data"][f"{split} index"]["sha256"]
        found = _digest(project.folder / "runs/annotate" / f"{split}.index")
        if found != expected:
            different.append(f"the {split} index has the digest {found[:16]}, expected {expected[:16]}")
    if different:
        raise ValueError(f"the data is not that of the run: {'; '.join(different)}; restore the dataset")
    _run(project, record, "train")
    for name in (record.results or {}).get("metrics", ()):
        _run(project, record, _STAGES[name])


def compare(project: DvcProject, record: Record) -> Iterator[tuple[str, bool, str]]:
    """Yield what was compared, whether it is equal, and what was found."""
    for name in _REPEATABLE:
        if name not in record.weights["files"]:
            continue
        described = record.weights["files"][name]
        found = _digest(project.folder / _TRAINED / Path(described["path"]).name)
        equal = found == described["sha256"]
        yield name, equal, found[:16] if equal else f"{found[:16]}, expected {described['sha256'][:16]}"
    for name, metrics in (record.results or {}).get("metrics", {}).items():
        path = project.folder / _RUNS / record.results["files"][name]["path"] if record.results else Path()
        found_metrics = json.loads(path.read_text(encoding="utf-8"))
        different = sorted(key for key in {*metrics, *found_metrics} if metrics.get(key) != found_metrics.get(key))
        yield name, not different, f"{', '.join(different)} differ" if different else "every number"


def _run(project: DvcProject, record: Record, stage: str) -> None:
    """Bring a stage and all it needs up to date, by running them: DVC's cache holds results of the run itself."""
    command = (sys.executable, "-m", "dvc", "repro", "--no-run-cache", stage)
    project.run(command, _show, {"OMP_NUM_THREADS": str(record.weights["machine"]["threads"])})


def _show(line: OutputLine) -> None:
    print(line.text, end="\r" if line.transient else "\n", flush=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Run the command line; the exit status is 0 if all is equal, 1 if something differs, 2 if it could not be made."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.remake", description=__doc__.splitlines()[0])
    parser.add_argument("passport", type=Path, help="passport of weights or of results")
    parser.add_argument("--into", type=Path, default=Path("runs/remake"), help="folder for the clone (%(default)s)")
    parser.add_argument("--repository", type=Path, default=Path(), help="checkout with the commit (default: this one)")
    parser.add_argument("--delete", action="store_true", help="delete the clone at the end if everything is equal")
    given = parser.parse_args()
    try:
        record = Record.read(given.passport)
        project = prepare(record, given.repository, given.into)
        reproduce(project, record)
        rows = list(compare(project, record))
    except (ValueError, OSError, CommandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, equal, detail in rows:
        print(f"{'equal' if equal else 'DIFFERS':9}{name:26}{detail}")
    if all(equal for _, equal, _ in rows):
        print(f"made again: everything is equal; {given.into}{' is deleted' if given.delete else ''}")
        if given.delete:
            shutil.rmtree(given.into)
        return 0
    print(
        "another machine, thread count or version of torch rounds differently; what is different here, says: "
        f"python -m model.verify {given.passport.parent / 'train/model.safetensors'}"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
