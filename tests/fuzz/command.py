"""The command's work, in the program that has the cores with sanitizers."""

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import core_targets, file_targets, weight_targets
from tests.fuzz.engine import CORPUS, Finding, execute, reduced
from tests.fuzz.supervision import Task, fuzz
from tests.fuzz.target import Target

TARGETS = (*core_targets.TARGETS, *file_targets.TARGETS, *weight_targets.TARGETS)


@dataclass(frozen=True)
class _Output:
    """Where findings of a target and inputs worth keeping go."""

    target: Target
    folder: Path
    seed: int
    keep: bool

    def report(self, finding: Finding) -> None:
        """Save a finding, the first of its cause, and say how to repeat it."""
        name = f"{self.target.name}-{hashlib.sha256(finding.cause.encode()).hexdigest()[:8]}"
        path = self.folder / name
        if path.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(finding.data)
        path.with_suffix(".txt").write_text(f"{finding.cause}\n\n{finding.report}")
        print(
            f"FOUND in {self.target.name}, seed {self.seed}: {finding.cause}\n"
            f"  report in {path.with_suffix('.txt')}; repeat with:\n"
            f"  python -m tests.fuzz --target {self.target.name} --input {path}",
            flush=True,
        )

    def found(self) -> int:
        """Count the findings."""
        return len(list(self.folder.glob(f"{self.target.name}-????????.txt")))

    def clear(self) -> None:
        """Remove what an earlier run has found."""
        for path in self.folder.glob(f"{self.target.name}-????????*"):
            path.unlink()

    def add_to_corpus(self, pool: list[bytes]) -> None:
        """Add inputs to the corpus if that was asked for."""
        if not self.keep:
            return
        with TemporaryDirectory() as folder:
            for data in reduced(self.target, pool, Path(folder)):
                path = CORPUS / self.target.name / hashlib.sha256(data).hexdigest()[:12]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def fuzz_all(arguments: argparse.Namespace) -> int:
    """Fuzz the chosen targets one after the other, with equal shares of the time that is left; return the status."""
    targets = _chosen(arguments.target)
    end = time.monotonic() + arguments.seconds
    total = found = 0
    for number, target in enumerate(targets):
        start = time.monotonic()
        output = _Output(target, arguments.out, arguments.seed, arguments.keep)
        output.clear()
        seconds = max(0.0, end - start) / (len(targets) - number)
        task = Task(target, arguments.seed, seconds, arguments.executions, output.report, output.add_to_corpus)
        counts, peak = fuzz(task)
        rate = counts.executions / max(time.monotonic() - start, 1e-9)
        print(
            f"{target.name:15} {counts.executions:8} executions ({rate:.0f} a second), {counts.lines} lines reached,"
            f" {counts.kept} inputs kept, peak {peak / 1e6:.2f} GB, {output.found()} found",
            flush=True,
        )
        total, found = total + counts.executions, found + output.found()
    print(f"{total} executions of {len(targets)} targets with seed {arguments.seed}: {found} found")
    return 1 if found else 0


def repeat(arguments: argparse.Namespace) -> int:
    """Run the one chosen target on one file, in this process, so that debuggers work; return the status."""
    (target,) = _chosen(arguments.target)
    with TemporaryDirectory() as folder:
        finding = execute(target, arguments.input.read_bytes(), Path(folder, "files"))
    print(f"{finding.cause}\n\n{finding.report}" if finding else f"{target.name}: taken, or refused properly")
    return 1 if finding else 0


def _chosen(names: list[str]) -> list[Target]:
    known = [target.name for target in TARGETS]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"error: no target {unknown[0]!r}; there are {', '.join(known)}")
    return [target for target in TARGETS if not names or target.name in names]
