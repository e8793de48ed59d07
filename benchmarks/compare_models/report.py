"""The page of the comparison: PQ of every row, and how it agrees with the papers' ordering."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compare_models.rows import CLOSE, CLOSE_CALL, ROWS, SCORE_THRESHOLD, Claim
from panoptic.markdown import markdown_page, markdown_table

GROUPS = ("all", "things", "stuff")
CONFIRMED = "as in the paper"
NOT_CONFIRMED = "not as in the paper"


@dataclass(frozen=True)
class SeedResult:
    """The result of one row with one seed."""

    row: str
    seed: int
    pq: Mapping[str, float]  # all, things, stuff; percent
    parameters: int
    seconds: float | None
    """Seconds of training; None where the weights are another row's, or where training was interrupted."""


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
class ComparisonReport:
    """All results, in the order of the rows, then of the seeds."""

    conditions: TrainingBudget
    results: Sequence[SeedResult]


def comparison_page(report: ComparisonReport) -> str:
    """Render the PQ of all rows, and every claim of the papers beside the measurement."""
    by_row = results_by_row(report.results)
    return markdown_page(
        "# The papers' models, trained with one budget on the embedded dataset",
        _introduction(report.conditions, by_row),
        markdown_table(
            ["row", "PQ", "things", "stuff", "seconds", "parameters"],
            [_cells(ROWS[name].title, found) for name, found in by_row.items()],
        ),
        "## Do the results confirm the papers' ordering?",
        "A difference counts if it has the same sign with every seed; `close` means within"
        f" {CLOSE:g} PQ on average. A short training of small networks on generated images cannot refute a paper.",
        "\n".join(f"- {line}" for name in by_row for line in _verdicts(name, by_row)),
    )


def results_by_row(results: Sequence[SeedResult]) -> dict[str, list[SeedResult]]:
    """Group results by their row, in the order of `ROWS`."""
    return {name: found for name in ROWS if (found := [result for result in results if result.row == name])}


def _introduction(budget: TrainingBudget, by_row: Mapping[str, Sequence[SeedResult]]) -> str:
    seeds = [{result.seed for result in found} for found in by_row.values()]
    common = sorted(set.intersection(*seeds))
    further = sorted(set.union(*seeds) - set(common))
    also = f", and {_listed(further)} for rows that are close to another" if further else ""
    return (
        f"Written by `python -m benchmarks.compare_models`. Every row: {budget.steps} optimizer steps of"
        f" {budget.batch_size} images from random weights, the settings of `params.yaml` with the row's override from"
        f" `experiments/ablations/`, scored on {budget.images} validation images; seeds {_listed(common)}{also}. After"
        " so short a training few class probabilities reach the published score threshold of 0.25, so all rows merge at"
        f" {SCORE_THRESHOLD} unless they say otherwise. Parallel trainings: {budget.jobs}, threads of each:"
        f" {budget.threads}, on {budget.device}. PQ in percent: the mean over the seeds, with the lowest and the"
        " highest in brackets. Seconds are those of training, including one validation at its end."
    )


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _cells(title: str, found: Sequence[SeedResult]) -> list[str]:
    pq = [_mean_and_range([result.pq[group] for result in found]) for group in GROUPS]
    timed = [result.seconds for result in found if result.seconds is not None]
    seconds = f"{sum(timed) / len(timed):.0f}" if timed else "-"
    return [title, *pq, seconds, f"{found[0].parameters / 1e6:.2f} M"]


def _mean_and_range(values: Sequence[float]) -> str:
    """Format the mean, not the median: there are two or three seeds."""
    mean = f"{sum(values) / len(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def _verdicts(name: str, by_row: Mapping[str, Sequence[SeedResult]]) -> Iterator[str]:
    """Compare a row with every claim about it; add its remark, and its finding where a claim is not confirmed."""
    row = ROWS[name]
    sentences = [_sentence(name, claim, by_row) for claim in row.claims if claim.other in by_row]
    yield from sentences
    if row.remark:
        yield f"**{row.title}**: note that {row.remark}."
    if row.finding and any(sentence.endswith(f"{NOT_CONFIRMED}.") for sentence in sentences):
        yield f"**{row.title}**, investigated: {row.finding}."


def _sentence(name: str, claim: Claim, by_row: Mapping[str, Sequence[SeedResult]]) -> str:
    title, other = ROWS[name].title, ROWS[claim.other].title
    differences = paired_differences(by_row[name], by_row[claim.other])
    if not differences:
        return f"**{title}**: the paper: {claim.words}. No seed in common with {other}."
    mean = sum(differences) / len(differences)
    seeds = f"{len(differences)} seeds" if len(differences) > 1 else "one seed"
    measured = f"{abs(mean):.1f} PQ {'above' if mean >= 0 else 'below'} {other} on average of {seeds}"
    return f"**{title}**: the paper: {claim.words}. Here: {measured}; {verdict(claim, differences)}."


def close_rows(results: Sequence[SeedResult]) -> list[str]:
    """Return the rows that came out close to one that they are compared with, and those."""
    by_row = results_by_row(results)
    close: set[str] = set()
    for name, found in by_row.items():
        for claim in ROWS[name].claims:
            differences = paired_differences(found, by_row.get(claim.other, []))
            if differences and abs(sum(differences)) <= CLOSE_CALL * len(differences):
                close |= {name, claim.other}
    return [name for name in ROWS if name in close]


def in_order(results: Sequence[SeedResult]) -> list[SeedResult]:
    """Sort results by the order of the rows, then by seed."""
    order = list(ROWS)
    return sorted(results, key=lambda result: (order.index(result.row), result.seed))


def paired_differences(found: Sequence[SeedResult], others: Sequence[SeedResult]) -> list[float]:
    """Return the PQ of a row minus that of another one, for every seed that both have."""
    of_seed = {result.seed: result.pq["all"] for result in others}
    return [result.pq["all"] - of_seed[result.seed] for result in found if result.seed in of_seed]


def verdict(claim: Claim, differences: Sequence[float]) -> str:
    """Say whether the differences to the other row agree with a claim."""
    if claim.relation == "close":
        mean = sum(differences) / len(differences)
        return CONFIRMED if abs(mean) <= CLOSE else NOT_CONFIRMED
    expected = [difference < 0 if claim.relation == "below" else difference > 0 for difference in differences]
    if all(expected):
        return CONFIRMED
    return "undecided, the seeds disagree" if any(expected) else NOT_CONFIRMED
