"""The papers' claims beside what a comparison found."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from benchmarks.compare_models.results import (
    UNDECIDED,
    ComparisonReport,
    SeedResult,
    paired_differences,
    results_by_row,
)
from benchmarks.compare_models.rows import CLOSE, Claim, RowTable
from panoptic.evaluation.sequential import Decision
from panoptic.markdown import markdown_table

CONFIRMED = "as in the paper"
NOT_CONFIRMED = "not as in the paper"
NOT_TESTED = "not tested, for want of counts by image or of a second seed"


@dataclass(frozen=True)
class ClaimResult:
    """A claim of a paper, what was measured, and whether that agrees."""

    paper: str
    here: str
    verdict: str


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
                claim.words,
                f"{rows}: {difference} PQ ({interval}), {pair.seeds} seeds",
                verdict(claim.relation, pair.decision),
            )
    differences = paired_differences(by_row[name], by_row[claim.other])
    if not differences:
        return ClaimResult(claim.words, f"{rows}: no seed in common", NOT_TESTED)
    mean, seeds = sum(differences) / len(differences), len(differences)
    return ClaimResult(
        claim.words, f"{rows}: {mean:+.1f} PQ, {f'{seeds} seeds' if seeds > 1 else 'one seed'}", NOT_TESTED
    )


def verdict(relation: str, decision: Decision) -> str:
    """Say whether the difference to the other row has the relation that a claim states: below, above, or close."""
    value, interval = decision.difference.value, decision.difference.interval()
    if relation == "close":
        is_far = decision.is_different and min(abs(interval.low), abs(interval.high)) > CLOSE
        return CONFIRMED if decision.is_close else NOT_CONFIRMED if is_far else UNDECIDED
    if not decision.is_different:
        return f"{NOT_CONFIRMED}, the rows are close" if decision.is_close else UNDECIDED
    return CONFIRMED if (value < 0) == (relation == "below") else NOT_CONFIRMED


def claims_table(claims: Sequence[ClaimResult]) -> str:
    """Render claims, one a row."""
    return markdown_table(["the papers", "here", "result"], [list(astuple(claim)) for claim in claims], labels=3)
