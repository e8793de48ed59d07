"""Count how often the 95 % intervals of differences between networks contain the known difference, by simulation.

    python -m benchmarks.interval_coverage
    python -m benchmarks.interval_coverage --draws 200 --jobs 2

`panoptic.evaluation.network_difference` has the intervals, and `panoptic.evaluation.sequential` the decisions. Networks
and images are drawn with variances like those of the runs on the embedded dataset, and with others, among them some
for which the intervals fail. Writes interval_coverage.md and interval_coverage.json.
"""

import math
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from tqdm import tqdm

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from benchmarks.interval_coverage.measure import (
    EQUAL_NETWORKS,
    LOOKS,
    METHODS,
    Coverage,
    WrongCalls,
    measure_coverage,
    measure_wrong_calls,
)
from benchmarks.interval_coverage.population import Population
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command

SEEDS = (3, 5)
IMAGES = (60, 500)
# Six things, found less often, and six stuff classes, as often in an image as in mini.
MINI = Population(np.repeat((0.5, 0.7), 6), np.repeat((0.78, 0.985), 6))
# As many classes and segments as in COCO: the most frequent thing is in most images, the rarest in one of 57.
_LONG_TAIL = Population(
    np.concatenate([1.4 / np.arange(1, 81), np.full(53, 0.075)]), np.repeat((0.6, 0.7), (80, 53)), (0.0, 0.2)
)
SCENARIOS: Mapping[str, Population] = MappingProxyType(
    {
        "as mini, equal networks": MINI,
        "as mini, one is better": replace(MINI, gains=(0.0, 0.4)),
        "seeds differ more": replace(MINI, seed_effects=(0.2, 0.2)),
        "seeds of one differ more": replace(MINI, seed_effects=(0.05, 0.3), gains=(0.0, 0.4)),
        "images differ more": replace(MINI, seed_effects=(0.03, 0.03), network_effect=1.0),
        "133 classes, most of them rare": replace(_LONG_TAIL, seed_effects=(0.03, 0.03), network_effect=1.0),
        "the same weights": replace(MINI, common_seed_effect=0.1, seed_effects=(0.03, 0.03), gains=(0.0, 0.1)),
    }
)
LIMITS: Mapping[str, Population] = MappingProxyType(
    {
        "a tenth of one's trainings fails": replace(MINI, failing=0.1),
    }
)


@dataclass(frozen=True)
class CoverageReport:
    """All fractions."""

    draws: int
    coverage: Sequence[Coverage]
    limits: Sequence[Coverage]
    wrong_calls: Sequence[WrongCalls]


def measure(draws: int, jobs: int) -> CoverageReport:
    """Measure every scenario with all numbers of seeds and images, several in parallel."""
    equal = replace(MINI, gains=(0.0,) * EQUAL_NETWORKS, seed_effects=(0.1,) * EQUAL_NETWORKS)
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as executor:
        coverage, limits = (
            [
                executor.submit(measure_coverage, name, population, seeds, images, draws)
                for name, population in scenarios.items()
                for seeds in SEEDS
                for images in IMAGES
            ]
            for scenarios in (SCENARIOS, LIMITS)
        )
        calls = [executor.submit(measure_wrong_calls, equal, images, draws) for images in IMAGES]
        rows = [one.result() for one in tqdm([*coverage, *limits], "rows")]
        wrong_calls = [one.result() for one in calls]
    return CoverageReport(draws, rows[: len(coverage)], rows[len(coverage) :], wrong_calls)


def coverage_page(report: CoverageReport) -> str:
    """Render the fractions."""
    outside = [one for one in report.coverage if not 0.93 <= one.contained["Student"] <= 0.97]
    exceptions = "; ".join(
        f"{one.scenario}, {one.seeds} seeds, {one.images} images: {100 * one.contained['Student']:.1f}"
        for one in outside
    )
    how = (
        f"Written by `python -m benchmarks.interval_coverage`: {report.draws} draws of two networks, their seeds and"
        " images for every row. Columns are the percentage of the draws in which a 95 % interval contains the known"
        " difference: of Student's interval with the variances of seeds and of images, which"
        " `benchmarks.compare_models` uses; of percentiles of a bootstrap over seeds and images; and of a bootstrap"
        " over images alone, as `panoptic report` has it for two single runs. *Seeds* is the standard deviation of the"
        " difference over the trainings in PQ, *images* its standard error by the choice of images, *width* the median"
        " of Student's interval. In the rows *as mini* PQ of one training has a standard deviation of 1.0 over the"
        " seeds, as in the [comparison](comparison.md), and of 0.7 over 150 images, as in `make run`."
    )
    calls = " and ".join(
        f"{100 * one.fraction:.1f} % of the draws with {one.images} images" for one in report.wrong_calls
    )
    looks = ", ".join(map(str, LOOKS))
    return markdown_page(
        "# Coverage of the intervals of differences between networks",
        how,
        _table(report.coverage),
        f"Student's interval is within 93 to 97 % in {len(report.coverage) - len(outside)} of {len(report.coverage)}"
        f" rows{f'; the others: {exceptions}' if outside else ''}. The standard error of each is"
        f" {100 * math.sqrt(0.05 * 0.95 / report.draws):.1f} %.",
        "## Limits",
        "Where a training fails now and then, a few seeds may not show it: in the draws that have no failure, the"
        " interval is narrow and wrong.",
        _table(report.limits),
        "## Several networks, several looks",
        f"{EQUAL_NETWORKS - 1} networks that equal the first are compared with it after {looks} seeds. Any of them is"
        f" called different at any look in {calls}; at most 5 % are allowed.",
    )


def _table(rows: Sequence[Coverage]) -> str:
    header = ["networks", "seeds", "images", "difference", *METHODS, "seeds, PQ", "images, PQ", "width, PQ"]
    return markdown_table(
        header,
        [
            [one.scenario, str(one.seeds), str(one.images), f"{one.difference:.2f}"]
            + [f"{100 * one.contained[name]:.1f}" for name in METHODS]
            + [f"{value:.2f}" for value in (one.spread, one.image_error, one.width)]
            for one in rows
        ],
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("interval_coverage", __doc__)
    parser.add_argument("--draws", type=int, default=1000, help="for every row (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        for name in ("draws", "jobs"):
            if (value := getattr(arguments, name)) < 1:
                raise ValueError(f"--{name} is {value}; give at least 1")
        report = measure(arguments.draws, arguments.jobs)
        publish("interval_coverage", coverage_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
