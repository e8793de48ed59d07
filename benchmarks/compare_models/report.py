"""The page of a comparison: PQ of every row, which rows differ, and how that agrees with the papers' claims."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

from benchmarks.compare_models.details import costs_section, details_section
from benchmarks.compare_models.rows import CLOSE, PAPERS, SCORE_THRESHOLD, Claim, RowTable
from benchmarks.harness.results import mean_and_range
from model.complexity.measure import Measurement
from panoptic.evaluation.power import POWER
from panoptic.evaluation.sequential import LEVEL, Decision
from panoptic.io.json_fields import read_json
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.summary import CLASS_GROUPS

CONFIRMED = "as in the paper"
NOT_CONFIRMED = "not as in the paper"
UNDECIDED = "undecided"
NOT_TESTED = "not tested, for want of counts by image or of a second seed"
_CLAIMS = (
    "A paper is confirmed only by a row that is called above or below the other one, or close to it, as in the table of"
    " differences. A short training of small networks on generated images cannot refute a paper."
)


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
    """

    conditions: TrainingBudget
    results: Sequence[SeedResult]
    comparisons: Sequence[ComparedPair] = ()
    planned: int = 0
    looks: int = 1
    costs: Mapping[str, Measurement] = field(default_factory=dict)
    step_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClaimResult:
    """A claim of a paper, what was measured, and whether that agrees."""

    paper: str
    here: str
    verdict: str


def comparison_page(report: ComparisonReport, table: RowTable = PAPERS) -> str:
    """Render the PQ of all rows, their differences, and every claim of the papers beside the measurement."""
    by_row = results_by_row(report.results, table)
    claims, remarks = claim_results(report, table), list(_remarks(by_row, report, table))
    time = ["steps", "CPU minutes"] if report.step_seconds else ["seconds"]
    return markdown_page(
        f"# {table.title}",
        _introduction(report, by_row),
        markdown_table(
            ["row", "PQ", "things", "stuff", *time, "parameters"],
            [_cells(table.rows[name].title, found, report) for name, found in by_row.items()],
        ),
        *(differences_section(report, table) if report.comparisons else ()),
        *details_section({name: [one.details for one in found] for name, found in by_row.items()}, table),
        *costs_section(report.costs, table),
        *(("## The papers' claims", _CLAIMS, claims_table(claims)) if claims else ()),
        *(("## Remarks", "\n".join(f"- {line}" for line in remarks)) if remarks else ()),
    )


def claims_table(claims: Sequence[ClaimResult]) -> str:
    """Render claims, one a row."""
    return markdown_table(["the papers", "here", "result"], [list(astuple(claim)) for claim in claims], labels=3)


def results_by_row(results: Sequence[SeedResult], table: RowTable) -> dict[str, list[SeedResult]]:
    """Group results by their row, in the order of the table."""
    return {name: found for name in table.rows if (found := [result for result in results if result.row == name])}


def differences_section(report: ComparisonReport, table: RowTable) -> tuple[str, str, str]:
    """Render the comparisons, and how they were decided."""
    looks = f"{report.looks} looks" if report.looks > 1 else "a single look"
    level, power = (f"{100 * fraction:g} %" for fraction in (LEVEL, POWER))
    how = (
        "A row is called *above* or *below* another only if that holds over seeds and images, with one error rate of"
        f" {level} for the table. The interval is Student's 95 % interval of one comparison, with the variances of"
        " seeds and of images (`panoptic.evaluation.network_difference`), paired by image and, where both rows have"
        f" the same weights, by seed. p is corrected by Holm (1979) for the {report.planned} comparisons and by"
        f" Bonferroni for {looks}; *close*, within {CLOSE:g} PQ by two one-sided tests, is corrected alike. A"
        " comparison gets no more seeds once it is decided. The last columns say how many seeds of each row would find"
        f" a difference of 1 PQ with {power} power on these images, and how many images with these seeds, at the"
        " strictest of the corrected levels; a dash: no number of them alone. Variances from so few seeds are"
        " uncertain, and so are these numbers."
    )
    header = ["row", "against", "seeds", "PQ", "95 % interval", "p", "called", "seeds for 1 PQ", "images for 1 PQ"]
    rows = [_difference_cells(pair, table) for pair in report.comparisons]
    return "## Which rows differ?", how, markdown_table(header, rows, labels=2)


def _difference_cells(pair: ComparedPair, table: RowTable) -> list[str]:
    needed = ("-" if number is None else f"{number:,}" for number in (pair.seeds_for_1_pq, pair.images_for_1_pq))
    return [
        table.rows[pair.row].title,
        table.rows[pair.other].title,
        str(pair.seeds),
        *pair.cells(),
        *needed,
    ]


def _introduction(report: ComparisonReport, by_row: Mapping[str, Sequence[SeedResult]]) -> str:
    budget = report.conditions
    seeds = [{result.seed for result in found} for found in by_row.values()]
    common = sorted(set.intersection(*seeds))
    further = sorted(set.union(*seeds) - set(common))
    also = f", and {_listed(further)} for rows whose comparison was still open" if further else ""
    unless = ", or as many whole epochs as take the same CPU time," if report.step_seconds else ""
    time = (
        "CPU minutes are those of the steps alone, whose CPU time was measured before the trainings"
        if report.step_seconds
        else "Seconds are those of training, including one validation at its end"
    )
    return (
        f"Written by `python -m benchmarks.compare_models`. Every row: {budget.steps} optimizer steps{unless} of"
        f" {budget.batch_size} images, the settings of `params.yaml` with the row's override from"
        f" `experiments/`, scored on {budget.images} validation images; seeds {_listed(common)}{also}. After"
        " so short a training few class probabilities reach the published score threshold of 0.25, so all rows merge at"
        f" {SCORE_THRESHOLD} unless they say otherwise. Parallel trainings: {budget.jobs}, threads of each:"
        f" {budget.threads}, on {budget.device}. PQ in percent, of all classes, things, and stuff: the mean over the"
        f" seeds, with the lowest and the highest in brackets. {time}."
    )


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _cells(title: str, found: Sequence[SeedResult], report: ComparisonReport) -> list[str]:
    pq = [mean_and_range([result.pq[group] for result in found]) for group in CLASS_GROUPS]
    return [title, *pq, *_training_time(found, report), f"{found[0].parameters / 1e6:.2f} M"]


def _training_time(found: Sequence[SeedResult], report: ComparisonReport) -> list[str]:
    """Format a row's steps and the CPU minutes of them, or else the mean seconds of its trainings."""
    if report.step_seconds:
        seconds, steps = report.step_seconds.get(found[0].row), found[0].steps
        return ["-", "-"] if seconds is None or steps is None else [str(steps), f"{steps * seconds / 60:.1f}"]
    timed = [result.seconds for result in found if result.seconds is not None]
    return [f"{sum(timed) / len(timed):.0f}" if timed else "-"]


def claim_results(report: ComparisonReport, table: RowTable) -> list[ClaimResult]:
    """Compare the papers' claims about the rows that were measured with what was found."""
    by_row = results_by_row(report.results, table)
    return [
        _claim_result(name, claim, by_row, report, table)
        for name in by_row
        for claim in table.rows[name].claims
        if claim.other in by_row
    ]


def _claim_result(
    name: str, claim: Claim, by_row: Mapping[str, Sequence[SeedResult]], report: ComparisonReport, table: RowTable
) -> ClaimResult:
    rows = f"{table.rows[name].title}, against {table.rows[claim.other].title}"
    for pair in report.comparisons:
        if (pair.row, pair.other) == (name, claim.other):
            difference, interval, *_ = pair.cells()
            return ClaimResult(
                claim.words, f"{rows}: {difference} PQ ({interval}), {pair.seeds} seeds", verdict(claim, pair.decision)
            )
    differences = paired_differences(by_row[name], by_row[claim.other])
    if not differences:
        return ClaimResult(claim.words, f"{rows}: no seed in common", NOT_TESTED)
    mean, seeds = sum(differences) / len(differences), len(differences)
    return ClaimResult(
        claim.words, f"{rows}: {mean:+.1f} PQ, {f'{seeds} seeds' if seeds > 1 else 'one seed'}", NOT_TESTED
    )


def _remarks(by_row: Mapping[str, object], report: ComparisonReport, table: RowTable) -> Iterator[str]:
    """Yield the remarks of the rows, and the finding of those with a claim that is not confirmed."""
    for name in by_row:
        row = table.rows[name]
        if row.remark:
            yield f"**{row.title}**: {row.remark}."
        pairs = {(pair.row, pair.other): pair.decision for pair in report.comparisons}
        decided = [(claim, pairs[name, claim.other]) for claim in row.claims if (name, claim.other) in pairs]
        if row.finding and any(verdict(*one).startswith(NOT_CONFIRMED) for one in decided):
            yield f"**{row.title}**, investigated: {row.finding}."


def read_quality(numbers: Path) -> dict[str, list[float]]:
    """Read PQ in percent by row, one for each seed, from the numbers of a published page; empty if there are none."""
    found: dict[str, list[float]] = defaultdict(list)
    if numbers.exists():
        for result in read_json(numbers).objects("results"):
            found[result.text("row")].append(result.child("pq").number("all"))
    return found


def in_order(results: Sequence[SeedResult], table: RowTable) -> list[SeedResult]:
    """Sort results by the order of the rows, then by seed."""
    order = list(table.rows)
    return sorted(results, key=lambda result: (order.index(result.row), result.seed))


def paired_differences(found: Sequence[SeedResult], others: Sequence[SeedResult]) -> list[float]:
    """Return the PQ of a row minus that of another one, for every seed that both have."""
    of_seed = {result.seed: result.pq["all"] for result in others}
    return [result.pq["all"] - of_seed[result.seed] for result in found if result.seed in of_seed]


def verdict(claim: Claim, decision: Decision) -> str:
    """Say whether the difference to the other row agrees with a claim."""
    value, interval = decision.difference.value, decision.difference.interval()
    if claim.relation == "close":
        is_far = decision.is_different and min(abs(interval.low), abs(interval.high)) > CLOSE
        return CONFIRMED if decision.is_close else NOT_CONFIRMED if is_far else UNDECIDED
    if not decision.is_different:
        return f"{NOT_CONFIRMED}, the rows are close" if decision.is_close else UNDECIDED
    return CONFIRMED if (value < 0) == (claim.relation == "below") else NOT_CONFIRMED
