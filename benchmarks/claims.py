"""List the papers' claims beside what was measured here, as the published pages have it.

    python -m benchmarks.claims

Nothing is measured: the numbers are those of other benchmarks' pages, and a missing page is named. Writes claims.md and
claims.json.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from scipy.stats import ttest_ind

from benchmarks.compare_models.beyond import BEYOND
from benchmarks.compare_models.claims import CONFIRMED, NOT_CONFIRMED, ClaimResult, claim_results, claims_table, verdict
from benchmarks.compare_models.details import KEPT
from benchmarks.compare_models.families import FAMILY_ROWS, families_table
from benchmarks.compare_models.results import UNDECIDED, ComparisonReport
from benchmarks.compare_models.rows import CLOSE, PAPERS, RowTable
from benchmarks.deep_supervision.grid import QUESTIONS
from benchmarks.deep_supervision.report import GridReport
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import RESULTS, publish, read_report
from benchmarks.layers.report import LayersReport
from benchmarks.merging.__main__ import DRAWN, MergingReport
from benchmarks.queries import WITH, WITHOUT, QueriesReport
from model.network.config import PANOPTIC_SEGFORMER
from panoptic.io.errors import DatasetError
from panoptic.markdown import markdown_page
from panoptic.report.explained import Estimate
from panoptic.runtime.cli import run_command

_LAYERS = "two of six layers of the mask decoder lose 0.1 PQ, and three none (table 10)"
_MERGING = "mask-wise merging takes 20 % less time than DETR's argmax (section 4.3)"
_ATTENTION = "with deep supervision attention focuses on the target in earlier layers (figure 6)"
_INTERFERENCE = "with joint matching, the more a query prefers things, the less precise is its stuff (figure 7)"
_ROBUST = "Panoptic SegFormer keeps more of its PQ under corruption than the other networks (table 11)"


@dataclass(frozen=True)
class ClaimsReport:
    """The claims that each published page says something about, and the pages that are missing."""

    pages: Mapping[str, Sequence[ClaimResult]]
    missing: Sequence[str]


def collect_claims(folder: Path) -> ClaimsReport:
    """Read the pages of a folder. Raises `DatasetError` if there is no such folder, or a page is of another version."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder; name one that has pages of benchmarks")
    there = [name for name in PAGES if (folder / f"{name}.json").exists()]
    pages = {name: claims for name in there if (claims := _claims_of(name, folder))}
    return ClaimsReport(pages, [name for name in PAGES if name not in pages])


def _claims_of(name: str, folder: Path) -> list[ClaimResult]:
    try:
        return list(PAGES[name].claims(folder))
    except (LookupError, ArithmeticError) as error:
        raise DatasetError(
            f"{folder}/{name}.json: lacks a part ({error}), as files of another version do; run again: python -m"
            f" {PAGES[name].command}"
        ) from None


def _of_rows(table: RowTable, folder: Path) -> Iterable[ClaimResult]:
    return claim_results(read_report(table.page, ComparisonReport, folder), table)


def _of_families(folder: Path) -> Iterator[ClaimResult]:
    report, table = read_report("families", ComparisonReport, folder), families_table(list(FAMILY_ROWS))
    yield from claim_results(report, table)
    kept = {
        row: [one.details[KEPT] for one in report.results if one.row == row and KEPT in one.details]
        for row in ("detr", "d_detr_ms", "maskformer", PANOPTIC_SEGFORMER)
    }
    ours = kept.pop(PANOPTIC_SEGFORMER)
    for row, theirs in kept.items():
        if min(len(ours), len(theirs)) > 1:
            interval = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
            difference = fmean(ours) - fmean(theirs)
            low, high = float(interval.low), float(interval.high)
            here = f"{difference:+.1f} % of PQ kept ({low:+.1f} to {high:+.1f}, over seeds alone)"
            found = _verdict(low > 0, high < 0)
            yield ClaimResult(_ROBUST, f"against {table.rows[row].title}: {here}", found)


def _of_grid(folder: Path) -> Iterator[ClaimResult]:
    for point in read_report("deep_supervision", GridReport, folder).points:
        question, cell = QUESTIONS[point.question], point.cell
        difference, interval, *_ = point.compared.cells()
        settings = (
            f"{cell.depth} layers, {cell.queries} queries, {cell.steps} steps, class losses times {cell.class_weight:g}"
        )
        here = f"{question.title}, {settings}: {difference} PQ ({interval}), {point.compared.seeds} seeds"
        yield ClaimResult(question.claim, here, verdict(question.relation, point.compared.decision))


def _of_layers(folder: Path) -> Iterator[ClaimResult]:
    report = read_report("layers", LayersReport, folder)
    for layer in report.early_exit.layers:
        low, high = layer.loss.low, layer.loss.high
        if layer.name not in ("2", "3") or low is None or high is None:
            continue
        here = (
            f"{layer.name} of {report.depth} layers: {100 * layer.loss:+.1f} PQ lost, one training, in"
            f" {layer.time.value:.0%} of the time"
        )
        is_close, is_far = 100 * max(-low, high) <= CLOSE, 100 * max(low, -high) > CLOSE
        yield ClaimResult(_LAYERS, here, _verdict(is_close, is_far))


def _of_merging(folder: Path) -> Iterator[ClaimResult]:
    report = read_report("merging", MergingReport, folder)
    ratio = report.ratio[DRAWN]["mask"]
    here = f"{ratio:.2f} of the time of `{report.baseline}`, {report.masks[DRAWN]}"
    yield ClaimResult(_MERGING, here, _verdict(ratio.highest < 1, ratio.lowest > 1))


def _of_queries(folder: Path) -> Iterator[ClaimResult]:
    report = read_report("queries", QueriesReport, folder)
    for deep, plain in zip(report.attention[WITH], report.attention[WITHOUT], strict=True):
        first, other = deep.layers[0].inside, plain.layers[0].inside
        here = (
            f"{100 * first:.0f} % of the attention of the first of {report.depth} layers is inside the masks of"
            f" {deep.group}, without deep supervision {100 * other:.0f} %; one training each"
        )
        yield ClaimResult(_ATTENTION, here, _larger(first, other))
    if slope := report.preference.slope:
        yield ClaimResult(_INTERFERENCE, f"slope {slope:+.2f}, one training", _larger(Estimate(0, 0, 0), slope))


def _larger(first: Estimate, second: Estimate) -> str:
    """Return whether the first is larger, as the paper says, by intervals that do not meet."""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return UNDECIDED
    return _verdict(first.low > second.high, first.high < second.low)


def _verdict(agrees: bool, disagrees: bool) -> str:
    return CONFIRMED if agrees else NOT_CONFIRMED if disagrees else UNDECIDED


@dataclass(frozen=True)
class Page:
    """A page that says something about the papers' claims: the command that writes it, and the reader of a folder."""

    command: str
    claims: Callable[[Path], Iterable[ClaimResult]]


PAGES: Mapping[str, Page] = {
    "comparison": Page("python -m benchmarks.compare_models --seeds 0 1 2 --jobs 2", partial(_of_rows, PAPERS)),
    "beyond": Page(
        "python -m benchmarks.compare_models --beyond --steps 2400 --seeds 0 1 2 3 4 --jobs 2",
        partial(_of_rows, BEYOND),
    ),
    "families": Page("python -m benchmarks.compare_models --families --seeds 0 1 2 --jobs 2", _of_families),
    "deep_supervision": Page("python -m benchmarks.deep_supervision --jobs 2", _of_grid),
    "layers": Page("python -m benchmarks.layers", _of_layers),
    "merging": Page("python -m benchmarks.merging", _of_merging),
    "queries": Page("python -m benchmarks.queries --jobs 2", _of_queries),
}


def claims_page(report: ClaimsReport) -> str:
    """Render a table for each page."""
    introduction = (
        "Written by `python -m benchmarks.claims` from the pages of the benchmarks below, which say how each number was"
        f" measured. Networks are small, trainings short, images generated: *{CONFIRMED}* and *{NOT_CONFIRMED}* are"
        f" about these, and cannot confirm or refute a paper on COCO. *{UNDECIDED}* is not the same as equal. Intervals"
        " are 95 %, those of ratios of times the lowest and the highest; a difference is called at one error rate for"
        f" all of its page, so an interval may exclude 0 where it is undecided. Close means within {CLOSE:g} PQ."
    )
    missing = ", ".join(f"`{PAGES[name].command}`" for name in report.missing)
    return markdown_page(
        "# The papers' claims",
        introduction,
        f"Not measured yet: {missing}." if missing else "",
        *(block for name, claims in report.pages.items() for block in _section(name, claims)),
    )


def _section(name: str, claims: Sequence[ClaimResult]) -> Iterator[str]:
    yield f"## [{name}]({name}.md)"
    yield f"`{PAGES[name].command}`"
    yield claims_table(claims)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("claims", __doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with the pages")
    arguments = parser.parse_args(argv)

    def command() -> None:
        report = collect_claims(arguments.results)
        publish("claims", claims_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
