"""The page of a comparison: PQ of every row, which rows differ, and how that agrees with the papers' claims."""

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.compare_models.claims import NOT_CONFIRMED, claim_results, claims_table, verdict
from benchmarks.compare_models.details import costs_section, details_section
from benchmarks.compare_models.results import ComparedPair, ComparisonReport, SeedResult, results_by_row
from benchmarks.compare_models.rows import CLOSE, PAPERS, SCORE_THRESHOLD, RowTable
from benchmarks.harness.results import mean_and_range
from panoptic.evaluation.power import POWER
from panoptic.evaluation.sequential import LEVEL
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.summary import CLASS_GROUPS

_CLAIMS = (
    "A paper is confirmed only by a row that is called above or below the other one, or close to it, as in the table of"
    " differences. A short training of small networks on generated images cannot refute a paper."
)


def comparison_page(report: ComparisonReport, table: RowTable = PAPERS) -> str:
    """Render the PQ of all rows, their differences, and every claim of the papers beside the measurement."""
    by_row = results_by_row(report.results, table)
    claims, remarks = claim_results(report, table), list(_remarks(by_row, report, table))
    time = ["steps", "CPU minutes"] if report.step_seconds else ["seconds"]
    return markdown_page(
        f"# {table.title}",
        _introduction(report, by_row),
        f"Failed, and left out: {', '.join(report.missing)}." if report.missing else "",
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
    which = "some rows" if report.missing else "rows whose comparison was still open"
    named = f"seeds {_listed(common)}" if common else "no seed for all rows"
    named += f", and {_listed(further)} for {which}" if further else ""
    unless = ", or as many whole epochs as take the same CPU time," if report.step_seconds else ""
    time = (
        "CPU minutes are those of the steps alone, whose CPU time was measured before the trainings"
        if report.step_seconds
        else "Seconds are those of training, including one validation at its end"
    )
    return (
        f"Written by `python -m benchmarks.compare_models`. Every row: {budget.steps} optimizer steps{unless} of"
        f" {budget.batch_size} images, the settings of `params.yaml` with the row's override from"
        f" `experiments/`, scored on {budget.images} validation images; {named}. After"
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


def _remarks(by_row: Mapping[str, object], report: ComparisonReport, table: RowTable) -> Iterator[str]:
    """Yield the remarks of the rows, and the finding of those with a claim that is not confirmed."""
    for name in by_row:
        row = table.rows[name]
        if row.remark:
            yield f"**{row.title}**: {row.remark}."
        pairs = {(pair.row, pair.other): pair.decision for pair in report.comparisons}
        decided = [(claim.relation, pairs[name, claim.other]) for claim in row.claims if (name, claim.other) in pairs]
        if row.finding and any(verdict(*one).startswith(NOT_CONFIRMED) for one in decided):
            yield f"**{row.title}**, investigated: {row.finding}."
