"""Train networks with one budget on the dataset of params.yaml, compare them, and decide which of them differ.

    python -m benchmarks.compare_models --seeds 0 1 2 --more-seeds 3 4 5 --jobs 2
    python -m benchmarks.compare_models --rows v2 box_free v2_p --steps 800 --seeds 0 1 2
    python -m benchmarks.compare_models --families --seeds 0 1 2 --jobs 2
    python -m benchmarks.compare_models --recipes ablations/v1 ablations/box_free --seeds 0 1 2 --budget time
    python -m benchmarks.compare_models --beyond --steps 2400 --seeds 0 1 2 3 4 --jobs 2

The rows are the papers' networks, or recipes: files in experiments/, which are compared with the first; or, beyond the
papers, options of our own, trained with the CPU time of the first row. Each is
trained, predicted and scored by the stages themselves. Settings, logs and weights of a row and seed are in
runs/benchmarks/compare/ROW-SEED/. A finished row is not run again while its settings and data stay the same (delete its
folder after a change to the code); an interrupted one resumes from its last checkpoint.

The comparisons are looked at after --seeds, and again after each of --more-seeds, which only rows get whose comparison
is still open: name them beforehand, because every look uses a part of the error rate. See docs/compare-models.md.
Writes comparison.md and comparison.json; for families and recipes, files of these names.

The page also has SQ, RQ, boundary PQ, AP and errors. Families are trained twice, with as many steps as the first row
and with as much CPU time (--budget chooses, for recipes as well), and their page also has PQ under corruption, and what
a prediction costs.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare_models.beyond import BEYOND
from benchmarks.compare_models.budgets import with_equal_time
from benchmarks.compare_models.costs import measured_costs
from benchmarks.compare_models.differences import SequentialComparison
from benchmarks.compare_models.families import FAMILY_ROWS, families_table
from benchmarks.compare_models.options import add_seeds, comparison_parser, exit_if_any
from benchmarks.compare_models.report import comparison_page
from benchmarks.compare_models.results import ComparisonReport, SeedResult, in_order, results_by_row
from benchmarks.compare_models.rows import PAPERS, RowTable
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.harness.results import publish
from panoptic.runtime.cli import run_command


def compare_models(
    runs: ComparisonRuns, rows: Sequence[str], seeds: Sequence[int], more_seeds: Sequence[int], out: Path
) -> list[str]:
    """Run what is not finished, rows in open comparisons with more seeds; write the page, and return the failures."""
    rows = list(dict.fromkeys(rows))
    runs.prepare(rows)
    looks = [list(dict.fromkeys(seeds)), *([seed] for seed in dict.fromkeys(more_seeds) if seed not in seeds)]
    pairs = runs.table.comparisons(rows)
    comparison = SequentialComparison(runs, pairs, len(looks))
    results, failures, used, missing = list[SeedResult](), list[str](), list[int](), list[str]()
    running = list(rows)
    for look in looks:
        found, failed = runs.run(running, look)
        results, failures, used = [*results, *found], [*failures, *failed], [*used, *look]
        done = {(one.row, one.seed) for one in found}
        missing += [runs.folder(row, seed).name for row in running for seed in look if (row, seed) not in done]
        comparison.look(results, used)
        is_open = comparison.open_rows(results)
        running = [row for row in rows if row in is_open]
        if not running:
            break
    if results:
        ordered = in_order(results, runs.table)
        known = list(results_by_row(results, runs.table))
        costs = measured_costs(runs, known) if runs.table.detailed else {}
        report = ComparisonReport(
            runs.budget(), ordered, comparison.compared(), len(pairs), len(looks), costs, runs.step_seconds, missing
        )
        publish(runs.table.page, comparison_page(report, runs.table), report, out)
    return failures


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the exit status is 1 if a row failed."""
    parser = comparison_parser("compare_models", __doc__)
    rows = parser.add_mutually_exclusive_group()
    names = list(PAPERS.rows)
    rows.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names))
    rows.add_argument("--recipes", nargs="+", metavar="NAME", help="files in experiments/ without .yaml, as rows")
    rows.add_argument(
        "--families",
        nargs="*",
        choices=FAMILY_ROWS,
        metavar="NAME",
        help=f"network families as rows, by default all: {', '.join(FAMILY_ROWS)}; the first is always one, as the"
        " others are compared with it",
    )
    rows.add_argument("--beyond", action="store_true", help="options that are not in the papers, as rows")
    add_seeds(parser)
    parser.add_argument(
        "--budget",
        choices=("steps", "time", "both"),
        help="what families or recipes are given alike: optimizer steps, CPU time of training, or a row for each;"
        " the default is both for families, time beyond the papers, and steps for recipes",
    )
    parser.add_argument("--steps", type=int, default=800, help="optimizer steps of every training (default: 800)")
    parser.add_argument(
        "--more-seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help="further seeds, one after the other, for rows in comparisons that are still open",
    )
    arguments = parser.parse_args(argv)
    if arguments.budget and not arguments.recipes and not arguments.beyond and arguments.families is None:
        parser.error("--budget is not for the rows of the papers, which have equal steps")

    def command() -> None:
        table, work = RowTable.of_recipes(arguments.recipes) if arguments.recipes else PAPERS, arguments.work
        if arguments.families is not None:
            table, work = families_table(arguments.families or list(FAMILY_ROWS)), work / "families"
        if arguments.beyond:
            table, work = BEYOND, work / BEYOND.page
        runs = ComparisonRuns(arguments.params, work, arguments.steps, arguments.jobs, table)
        default = "time" if arguments.beyond else "both" if arguments.families is not None else "steps"
        budget = arguments.budget or default
        if budget != "steps":
            runs = with_equal_time(runs, keep_equal_steps=budget == "both")
        rows = arguments.rows if runs.table is PAPERS else list(runs.table.rows)
        failures = compare_models(runs, rows, arguments.seeds, arguments.more_seeds, arguments.out)
        exit_if_any(failures)

    run_command(command)


if __name__ == "__main__":
    main()
