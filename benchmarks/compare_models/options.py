"""Options of every command that trains networks to compare them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.command import benchmark_parser

WORK = Path("runs/benchmarks/compare")


def comparison_parser(name: str, doc: str | None, work: Path = WORK) -> argparse.ArgumentParser:
    """Return a parser for `python -m benchmarks.<name>` with the options that say where what is trained."""
    parser = benchmark_parser(name, doc)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings that all rows share")
    parser.add_argument("--work", type=Path, default=work, help="folder for the runs (default: %(default)s)")
    return parser


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that trains every row several times."""
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one training each (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="parallel trainings, which share the cores (default: 1)")


def exit_if_any(failures: Sequence[str]) -> None:
    """End with status 1 if a training or a score failed, and print what did."""
    if failures:
        print("\n".join(["", *failures]), file=sys.stderr)
        sys.exit(1)
