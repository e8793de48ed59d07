"""Train a grid of networks with and without deep supervision, and with centers of mass instead of boxes.

    python -m benchmarks.deep_supervision --jobs 2
    python -m benchmarks.deep_supervision --queries encoder learned --steps 400 800 1600 --class-weights 1 2

Every combination of depth, queries, steps and class weight is a network, which is compared with the same one without
deep supervision, and with the same one without boxes. Runs are kept and resumed as by `benchmarks.compare_models`, and
differences are called by the same rules (docs/compare-models.md); a larger grid trains only what is missing. Writes
deep_supervision.md, deep_supervision.json and deep_supervision.png, the curves against the steps of training.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare_models.differences import Pair, SequentialComparison
from benchmarks.compare_models.options import WORK, add_seeds, comparison_parser, exit_if_any
from benchmarks.compare_models.results import SeedResult
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.deep_supervision.grid import PAGE, QUERIES, QUESTIONS, Cell, grid_table, make_cells
from benchmarks.deep_supervision.report import FIGURE, GridPoint, GridReport, grid_figure, grid_page
from benchmarks.harness.results import publish
from model.training.settings import TrainSettings
from panoptic.evaluation.network_difference import FEWEST_SEEDS
from panoptic.io.files import write_atomically
from panoptic.robustness.figures import png_file
from panoptic.runtime.cli import run_command
from stages.settings import load_section


def measure_grid(
    runs: ComparisonRuns, cells: Sequence[Cell], questions: Sequence[str], seeds: Sequence[int]
) -> tuple[GridReport, list[str]]:
    """Run what is not finished, and compare; return a message for each run that failed, too."""
    rows = list(runs.table.rows)
    runs.prepare(rows)
    asked = {cell.pair(question): (question, cell) for question in questions for cell in cells}
    comparison = SequentialComparison(runs, list(asked), planned=1)
    results, failures = runs.run(rows, seeds)
    comparison.look(results, seeds)
    points = [
        GridPoint(*asked[pair.row, pair.other], pair, _means((pair.row, pair.other), results))
        for pair in comparison.compared()
    ]
    return GridReport(runs.budget(), seeds, len(asked), points), failures


def _means(pair: Pair, results: Sequence[SeedResult]) -> tuple[float, float]:
    first, second = (
        statistics.fmean(one.pq["all"] for one in results if one.row == row and not math.isnan(one.pq["all"]))
        for row in pair
    )
    return first, second


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the exit status is 1 if a run failed."""
    parser = comparison_parser("deep_supervision", __doc__, WORK / PAGE)
    add_seeds(parser)
    parser.set_defaults(seeds=[0, 1, 2])
    names = list(QUESTIONS)
    parser.add_argument("--questions", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--depths", nargs="+", type=int, default=[2, 6], help="blocks of the mask decoders")
    queries = list(QUERIES)
    parser.add_argument("--queries", nargs="+", choices=queries, default=["learned"], help="where they start from")
    parser.add_argument("--steps", nargs="+", type=int, default=[400, 800], help="of every training")
    parser.add_argument("--class-weights", nargs="+", type=float, default=[1.0], help="factors of class losses")
    arguments = parser.parse_args(argv)

    def command() -> None:
        seeds = list(dict.fromkeys(arguments.seeds))
        if len(seeds) < FEWEST_SEEDS:
            raise ValueError(
                f"--seeds has {len(seeds)}; give at least {FEWEST_SEEDS}, without which there is no interval"
            )
        params: Path = arguments.params
        questions = [name for name in names if name in arguments.questions]
        cells = make_cells(arguments.depths, arguments.queries, arguments.class_weights, arguments.steps)
        table = grid_table(cells, questions, load_section(params, "train", TrainSettings).losses)
        runs = ComparisonRuns(params, arguments.work, max(arguments.steps), arguments.jobs, table)
        report, failures = measure_grid(runs, cells, questions, seeds)
        if report.points:
            write_atomically(arguments.out / FIGURE, png_file(grid_figure(report)))
            publish(PAGE, grid_page(report), report, arguments.out)
        exit_if_any(failures)

    run_command(command)


if __name__ == "__main__":
    main()
