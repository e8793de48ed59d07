"""The comparison as a page to read: PQ of every row with its spread, and what of the papers' ordering shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compare_models.rows import CLOSE, CLOSE_CALL, ROWS, SCORE_THRESHOLD, Claim

GROUPS = ("all", "things", "stuff")
NOT_SHOWN = "not as in the paper"


@dataclass(frozen=True)
class Result:
    """One row with one seed."""

    row: str
    seed: int
    pq: Mapping[str, float]  # all, things, stuff; percent
    parameters: int
    seconds: float | None
    """Of training; None where the weights are another row's, or where training was interrupted."""


@dataclass(frozen=True)
class Conditions:
    """What all rows had in common."""

    steps: int
    batch_size: int
    images: int
    jobs: int
    threads: int
    device: str


def markdown(results: Sequence[Result], conditions: Conditions) -> str:
    """The page."""
    by_row = {name: found for name in ROWS if (found := [result for result in results if result.row == name])}
    seeds = [{result.seed for result in found} for found in by_row.values()]
    common = sorted(set.intersection(*seeds))
    further = sorted(set.union(*seeds) - set(common))
    also = f", rows that are close to another also {_listed(further)}" if further else ""
    introduction = (
        f"Written by `python -m benchmarks.compare_models`. Every row: {conditions.steps} optimizer steps of"
        f" {conditions.batch_size} images from random weights, the settings of `params.yaml` with its overlay from"
        f" `experiments/ablations/`, scored on {conditions.images} validation images; seeds"
        f" {_listed(common)}{also}. After so short a training few class probabilities reach the published score"
        f" threshold of 0.25, so all rows merge at {SCORE_THRESHOLD} unless they say otherwise. Trainings at a time:"
        f" {conditions.jobs}, threads of each: {conditions.threads}, on {conditions.device}. PQ in percent: the mean,"
        " and in brackets the lowest and the highest of the seeds. Seconds are those of training, with the one"
        " validation at its end."
    )
    reading = (
        "A difference counts where it has the same sign with every seed; `close` means within"
        f" {CLOSE:g} PQ on average. A short training of small networks on generated images cannot refute a paper."
    )
    lines = ["# The papers' models, trained with one budget on the embedded dataset", "", introduction, ""]
    lines += ["| row | PQ | things | stuff | seconds | parameters |", "|---|---|---|---|---|---|"]
    lines += [_table_line(ROWS[name].title, found) for name, found in by_row.items()]
    lines += ["", "## Does the papers' ordering show?", "", reading, ""]
    for name, found in by_row.items():
        row = ROWS[name]
        sentences = [
            _sentence(name, found, claim, by_row[claim.other]) for claim in row.claims if claim.other in by_row
        ]
        lines += [f"- {sentence}" for sentence in sentences]
        if row.remark:
            lines.append(f"- **{row.title}**: note that {row.remark}.")
        if row.finding and any(sentence.endswith(f"{NOT_SHOWN}.") for sentence in sentences):
            lines.append(f"- **{row.title}**, looked into: {row.finding}.")
    return "\n".join([*lines, ""])


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _table_line(title: str, found: Sequence[Result]) -> str:
    pq = [_spread([result.pq[group] for result in found]) for group in GROUPS]
    timed = [result.seconds for result in found if result.seconds is not None]
    seconds = f"{sum(timed) / len(timed):.0f}" if timed else "-"
    return f"| {' | '.join([title, *pq, seconds, f'{found[0].parameters / 1e6:.2f} M'])} |"


def _spread(values: Sequence[float]) -> str:
    mean = f"{sum(values) / len(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def _sentence(name: str, found: Sequence[Result], claim: Claim, others: Sequence[Result]) -> str:
    """What the paper says, what was measured, and whether they agree."""
    differences = paired_differences(found, others)
    if not differences:
        return f"**{ROWS[name].title}**: the paper: {claim.words}. No seed in common with {ROWS[claim.other].title}."
    mean = sum(differences) / len(differences)
    seeds = f"{len(differences)} seeds" if len(differences) > 1 else "one seed"
    measured = f"{abs(mean):.1f} PQ {'above' if mean >= 0 else 'below'} {ROWS[claim.other].title} on average of {seeds}"
    return f"**{ROWS[name].title}**: the paper: {claim.words}. Here: {measured}; {verdict(claim, differences)}."


def close_rows(results: Sequence[Result]) -> list[str]:
    """The rows that came out close to one that they are compared with, and those."""
    by_row = {name: [result for result in results if result.row == name] for name in ROWS}
    close: set[str] = set()
    for name, found in by_row.items():
        for claim in ROWS[name].claims:
            differences = paired_differences(found, by_row[claim.other])
            if differences and abs(sum(differences)) <= CLOSE_CALL * len(differences):
                close |= {name, claim.other}
    return [name for name in ROWS if name in close]


def in_order(results: Sequence[Result]) -> list[Result]:
    """Results in the order of the rows, then of the seeds."""
    order = list(ROWS)
    return sorted(results, key=lambda result: (order.index(result.row), result.seed))


def paired_differences(found: Sequence[Result], others: Sequence[Result]) -> list[float]:
    """PQ of a row less that of another one, for every seed that both have."""
    of_seed = {result.seed: result.pq["all"] for result in others}
    return [result.pq["all"] - of_seed[result.seed] for result in found if result.seed in of_seed]


def verdict(claim: Claim, differences: Sequence[float]) -> str:
    """Whether differences to the other row agree with a claim."""
    if claim.relation == "close":
        mean = sum(differences) / len(differences)
        return "as in the paper" if abs(mean) <= CLOSE else NOT_SHOWN
    expected = [difference < 0 if claim.relation == "below" else difference > 0 for difference in differences]
    if all(expected):
        return "as in the paper"
    return "undecided, the seeds disagree" if any(expected) else NOT_SHOWN
