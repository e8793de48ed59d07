"""The command line that all benchmarks have in common."""

import argparse
from pathlib import Path

from benchmarks.harness.results import RESULTS


def benchmark_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for `python -m benchmarks.<name>` with the option `--out`; `doc` is that of the module."""
    assert doc
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the page (default: %(default)s)")
    return parser
