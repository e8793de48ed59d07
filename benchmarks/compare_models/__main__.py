"""Train the papers' models with one budget on the dataset of params.yaml, and compare their order with the papers'.

    python -m benchmarks.compare_models --seeds 0 1 --more-seeds 2 --jobs 2
    python -m benchmarks.compare_models --rows v2 box_free v2_p --steps 800 --seeds 0 1 2

Every row is an override in experiments/ablations/, trained, predicted and scored by the stages themselves. Settings,
logs and weights of a row and seed are in runs/benchmarks/compare/ROW-SEED/. A finished row is not run again while its
settings and data stay the same (delete its folder after a change to the code); an interrupted one resumes from its
last checkpoint. Writes comparison.md and comparison.json.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare_models.report import ComparisonReport, close_rows, comparison_page, in_order
from benchmarks.compare_models.rows import CLOSE_CALL, ROWS
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from panoptic.runtime.cli import run_command

WORK = Path("runs/benchmarks/compare")


def compare_models(
    runs: ComparisonRuns, rows: Sequence[str], seeds: Sequence[int], more_seeds: Sequence[int], out: Path
) -> list[str]:
    """Run what is not finished, close rows with more seeds; write the page, and return the failures."""
    runs.prepare()
    results, failures = runs.run(rows, seeds)
    if more_seeds and (close := close_rows(results)):
        more, further = runs.run(close, more_seeds)
        results, failures = in_order([*results, *more]), [*failures, *further]
    if results:
        report = ComparisonReport(runs.budget(), results)
        publish("comparison", comparison_page(report), report, out)
    return failures


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the exit status is 1 if a row failed."""
    parser = benchmark_parser("compare_models", __doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--steps", type=int, default=800, help="optimizer steps of every training (default: 800)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one training each (default: 0)")
    parser.add_argument(
        "--more-seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help=f"additional seeds for rows within {CLOSE_CALL:g} PQ of one that they are compared with",
    )
    parser.add_argument("--jobs", type=int, default=1, help="parallel trainings, which share the cores (default: 1)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings that all rows share")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the runs (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        runs = ComparisonRuns(arguments.params, arguments.work, arguments.steps, arguments.jobs)
        failures = compare_models(runs, arguments.rows, arguments.seeds, arguments.more_seeds, arguments.out)
        if failures:
            print("\n".join(["", *failures]), file=sys.stderr)
            sys.exit(1)

    run_command(command)


if __name__ == "__main__":
    main()
