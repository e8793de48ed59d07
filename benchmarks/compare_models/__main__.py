"""Train the papers' models with one budget on the dataset of params.yaml, and see whether their ordering shows.

    python -m benchmarks.compare_models --seeds 0 1 --more-seeds 2 --jobs 2
    python -m benchmarks.compare_models --rows v2 box_free v2_p --steps 800 --seeds 0 1 2

Every row is an overlay in experiments/ablations/, trained, predicted and scored by the stages themselves. Settings,
logs and weights of a row and seed lie in runs/benchmarks/compare/ROW-SEED/. A row that is finished is not run again
while its settings and data stay the same (delete its folder after a change to the code), an interrupted one goes on
from its last saved state. Writes comparison.md and comparison.json.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.compare_models.report import close_rows, in_order, markdown
from benchmarks.compare_models.rows import CLOSE_CALL, ROWS
from benchmarks.compare_models.runs import Bench
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command

WORK = Path("runs/benchmarks/compare")


def compare(bench: Bench, rows: Sequence[str], seeds: Sequence[int], more_seeds: Sequence[int], out: Path) -> list[str]:
    """Run what is not finished, rows that come out close with more seeds; write the page, and return the failures."""
    bench.prepare()
    results, failures = bench.run(rows, seeds)
    if more_seeds and (close := close_rows(results)):
        more, further = bench.run(close, more_seeds)
        results, failures = in_order([*results, *more]), [*failures, *further]
    if results:
        conditions = bench.conditions()
        content = {"conditions": asdict(conditions), "results": [asdict(result) for result in results]}
        write_atomically(out / "comparison.json", (json.dumps(content, indent=1) + "\n").encode())
        write_atomically(out / "comparison.md", markdown(results, conditions).encode())
        print(f"{len(results)} results, written to {out / 'comparison.md'}")
    return failures


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; the exit status is 1 when a row failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_models", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--steps", type=int, default=800, help="optimizer steps of every training (default: 800)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one training each (default: 0)")
    parser.add_argument(
        "--more-seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help=f"seeds besides, for rows that are within {CLOSE_CALL:g} PQ of one that they are compared with",
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, which share the cores (default: 1)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings that all rows share")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder for the runs (default: {WORK})")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        bench = Bench(arguments.params, arguments.work, arguments.steps, arguments.jobs)
        failures = compare(bench, arguments.rows, arguments.seeds, arguments.more_seeds, arguments.out)
        if failures:
            print("\n".join(["", *failures]), file=sys.stderr)
            sys.exit(1)

    run_command(command)


if __name__ == "__main__":
    main()
