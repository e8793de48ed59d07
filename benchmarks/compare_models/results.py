"""The results of a comparison: records of its page's numbers, and their reader."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.compare_models.rows import RowTable
from benchmarks.harness.results import read_report
from model.complexity.measure import Measurement
from panoptic.evaluation.sequential import Decision

UNDECIDED = "undecided"


@dataclass(frozen=True)
class SeedResult:
    """The result of one row with one seed."""

    row: str
    seed: int
    pq: Mapping[str, float]  # all, things, stuff; percent
    parameters: int
    seconds: float | None
    """Seconds of training; None where the weights are another row's, or where training was interrupted."""
    details: Mapping[str, float] = field(default_factory=dict)  # other scores, and PQ lost to errors; percent
    steps: int | None = None  # of the optimizer; None: those that the page names


@dataclass(frozen=True)
class TrainingBudget:
    """Conditions that all rows share."""

    steps: int
    batch_size: int
    images: int
    jobs: int
    threads: int
    device: str


@dataclass(frozen=True)
class ComparedPair:
    """A row and the one that it is compared with.

    Attributes:
        seeds_for_1_pq: of each row, that find a difference of 1 PQ on the same images; None if no number does.
        images_for_1_pq: that find it with the same number of seeds.
    """

    row: str
    other: str
    decision: Decision
    seeds_for_1_pq: int | None
    images_for_1_pq: int | None

    @property
    def seeds(self) -> int:
        """Number of seeds that the decision is based on."""
        return self.decision.difference.seeds

    @property
    def call(self) -> str:
        """Decision in words: above or below, close, or both."""
        order = "above" if self.decision.difference.value > 0 else "below"
        return ", ".join([order] * self.decision.is_different + ["close"] * self.decision.is_close) or UNDECIDED

    def cells(self) -> list[str]:
        """Format the difference, its interval, p and the call for a table."""
        difference, p_value = self.decision.difference, self.decision.p_different
        interval = difference.interval()
        return [
            f"{difference.value:+.1f}",
            f"{interval.low:+.1f} to {interval.high:+.1f}",
            "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
            self.call,
        ]


@dataclass(frozen=True)
class ComparisonReport:
    """All results, in the order of the rows, then of the seeds.

    Attributes:
        comparisons: those with at least two seeds, of runs whose counts by image are known.
        planned: number of comparisons, with and without results.
        looks: number of times that the comparisons were to be decided.
        costs: of a prediction, by row, in a detailed table.
        step_seconds: CPU seconds of a training step, by row, where rows are trained with equal CPU time.
        missing: rows and seeds without a result, because they or the training of their weights failed.
    """

    conditions: TrainingBudget
    results: Sequence[SeedResult]
    comparisons: Sequence[ComparedPair] = ()
    planned: int = 0
    looks: int = 1
    costs: Mapping[str, Measurement] = field(default_factory=dict)
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    missing: Sequence[str] = ()


def read_results(numbers: Path) -> dict[str, list[SeedResult]]:
    """Read the results by row from the numbers of a published page; empty if there are none."""
    found: dict[str, list[SeedResult]] = defaultdict(list)
    if numbers.exists():
        for result in read_report(numbers.stem, ComparisonReport, numbers.parent).results:
            found[result.row].append(result)
    return found


def results_by_row(results: Sequence[SeedResult], table: RowTable) -> dict[str, list[SeedResult]]:
    """Group results by their row, in the order of the table."""
    return {name: found for name in table.rows if (found := [result for result in results if result.row == name])}


def in_order(results: Sequence[SeedResult], table: RowTable) -> list[SeedResult]:
    """Sort results by the order of the rows, then by seed."""
    order = list(table.rows)
    return sorted(results, key=lambda result: (order.index(result.row), result.seed))


def paired_differences(found: Sequence[SeedResult], others: Sequence[SeedResult]) -> list[float]:
    """Return the PQ of a row minus that of another one, for every seed that both have."""
    of_seed = {result.seed: result.pq["all"] for result in others}
    return [result.pq["all"] - of_seed[result.seed] for result in found if result.seed in of_seed]
