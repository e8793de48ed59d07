"""Running all cases with one tool; what a runner adds is how to call it."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from conformance.case import Case, Entry
from conformance.compare import METRICS, Found, NotSupported, Verdict, judge
from conformance.files import Files, write_files
from conformance.reading import read_cases
from conformance.result_files import Results, cases_digest

Score = Callable[[Case, Files], Found]


@dataclass(frozen=True)
class Runner:
    """A tool: its packages, of which the first gives the version, and how to score a case, by metric."""

    peer: str
    packages: tuple[str, ...]
    metrics: Mapping[str, Score]
    lacks: str = "does not compute it"

    def run(self, entry: Entry) -> dict[str, Verdict]:
        """Judge the tool on one case, for every metric."""
        with TemporaryDirectory() as folder:
            files = write_files(entry.case, Path(folder))
            verdicts = {metric: judge(entry, metric, self._score(metric, entry.case, files)) for metric in METRICS}
        # Results do not depend on where the files were.
        return {
            metric: Verdict(verdict.status, verdict.detail.replace(f"{folder}/", ""))
            for metric, verdict in verdicts.items()
        }

    def _score(self, metric: str, case: Case, files: Files) -> Found | Exception:
        if metric not in self.metrics:
            return NotSupported(self.lacks)
        try:
            return self.metrics[metric](case, files)
        except ImportError:
            raise  # no result of the tool: the environment is incomplete
        except Exception as error:
            return error


def run_all(runner: Runner) -> Results:
    """Run a tool on all cases."""
    with _quiet():
        verdicts = {entry.case.path: runner.run(entry) for entry in read_cases()}
    return Results(
        runner.peer,
        {name: version(name) for name in runner.packages},
        platform.python_version(),
        cases_digest(),
        {
            metric: {
                path: (verdict.status, verdict.detail)
                for path, found in verdicts.items()
                if (verdict := found[metric]).status != "pass"
            }
            for metric in METRICS
        },
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what tools print."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def main(runner: Runner, argv: Sequence[str] | None = None) -> None:
    """The command line of a runner, which prints the result of `run_all`."""
    module = f"conformance.runners.{runner.peer.replace('-', '_').lower()}"
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Score all cases with {runner.peer}.")
    parser.parse_args(argv)
    print(run_all(runner).to_json())
