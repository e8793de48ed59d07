"""List the papers' claims beside what was measured here, as the published pages have it.

    python -m benchmarks.claims

Nothing is measured: the numbers are those of the pages of other benchmarks, and a page that is missing is named. Writes
claims.md and claims.json.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import ttest_ind

from benchmarks.compare_models.families import FAMILY_ROWS, families_table
from benchmarks.compare_models.report import (
    CONFIRMED,
    NOT_CONFIRMED,
    UNDECIDED,
    ClaimResult,
    ComparisonReport,
    claim_results,
    claims_table,
    verdict,
)
from benchmarks.compare_models.rows import CLOSE, PAPERS, Claim
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

COMMANDS: Mapping[str, str] = {
    "comparison": "benchmarks.compare_models --seeds 0 1 2 --jobs 2",
    "families": "benchmarks.compare_models --families --seeds 0 1 2 --jobs 2",
    "deep_supervision": "benchmarks.deep_supervision --seeds 0 1 2 --jobs 2",
    "layers": "benchmarks.layers",
    "merging": "benchmarks.merging",
    "queries": "benchmarks.queries --jobs 2",
}
_RELATIONS = {"deep_supervision": "above", "box_free": "close"}
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
    there = [name for name in COMMANDS if (folder / f"{name}.json").exists()]
    pages = {name: _claims_of(name, folder) for name in there}
    return ClaimsReport(pages, [name for name in COMMANDS if name not in there])


def _claims_of(name: str, folder: Path) -> list[ClaimResult]:
    try:
        return list(_read_claims(name, folder))
    except LookupError as error:
        raise DatasetError(
            f"{folder}/{name}.json: lacks a part ({error}), as files of another version do; run again: python -m"
            f" {COMMANDS[name]}"
        ) from None


def _read_claims(name: str, folder: Path) -> Iterable[ClaimResult]:
    if name == "comparison":
        return claim_results(read_report(name, ComparisonReport, folder), PAPERS)
    if name == "families":
        return _of_families(read_report(name, ComparisonReport, folder))
    if name == "deep_supervision":
        return _of_grid(read_report(name, GridReport, folder))
    if name == "layers":
        return _of_layers(read_report(name, LayersReport, folder))
    if name == "queries":
        return _of_queries(read_report(name, QueriesReport, folder))
    return [_of_merging(read_report(name, MergingReport, folder))]


def _of_families(report: ComparisonReport) -> Iterator[ClaimResult]:
    table = families_table(list(FAMILY_ROWS))
    yield from claim_results(report, table)
    kept = {
        row: [one.details["PQ kept"] for one in report.results if one.row == row and "PQ kept" in one.details]
        for row in ("detr", "d_detr_ms", "maskformer", PANOPTIC_SEGFORMER)
    }
    ours = kept.pop(PANOPTIC_SEGFORMER)
    for row, theirs in kept.items():
        if min(len(ours), len(theirs)) > 1:
            interval = ttest_ind(ours, theirs, equal_var=False).confidence_interval()
            difference = sum(ours) / len(ours) - sum(theirs) / len(theirs)
            found = CONFIRMED if interval.low > 0 else NOT_CONFIRMED if interval.high < 0 else UNDECIDED
            here = f"{difference:+.1f} % of PQ kept ({interval.low:+.1f} to {interval.high:+.1f}, over seeds alone)"
            yield ClaimResult(_ROBUST, f"against {table.rows[row].title}: {here}", found)


def _of_grid(report: GridReport) -> Iterator[ClaimResult]:
    for point in report.points:
        question, cell = QUESTIONS[point.question], point.cell
        difference, interval, *_ = point.compared.cells()
        settings = f"{cell.depth} layers, {cell.steps} steps, class losses times {cell.class_weight:g}"
        claim = Claim("", _RELATIONS[point.question], question.claim)
        here = f"{question.title}, {settings}: {difference} PQ ({interval}), {point.compared.seeds} seeds"
        yield ClaimResult(question.claim, here, verdict(claim, point.compared.decision))


def _of_layers(report: LayersReport) -> Iterator[ClaimResult]:
    for layer in report.early_exit.layers:
        low, high = layer.loss.low, layer.loss.high
        if layer.name not in ("2", "3") or low is None or high is None:
            continue
        is_close, is_far = 100 * max(-low, high) <= CLOSE, 100 * max(low, -high) > CLOSE
        here = (
            f"{layer.name} of {report.depth} layers: {100 * layer.loss:+.1f} PQ lost, one training, in"
            f" {layer.time.value:.0%} of the time"
        )
        yield ClaimResult(_LAYERS, here, CONFIRMED if is_close else NOT_CONFIRMED if is_far else UNDECIDED)


def _of_merging(report: MergingReport) -> ClaimResult:
    ratio = report.ratio[DRAWN]["mask"]
    found = CONFIRMED if ratio.highest < 1 else NOT_CONFIRMED if ratio.lowest > 1 else UNDECIDED
    return ClaimResult(_MERGING, f"{ratio:.2f} of the time of `{report.baseline}`, {report.masks[DRAWN]}", found)


def _of_queries(report: QueriesReport) -> Iterator[ClaimResult]:
    for deep, plain in zip(report.attention[WITH], report.attention[WITHOUT], strict=True):
        first, other = deep.layers[0].inside, plain.layers[0].inside
        here = (
            f"{100 * first:.0f} % of the attention of the first of {report.depth} layers is inside the masks of"
            f" {deep.group}, without deep supervision {100 * other:.0f} %; one training each"
        )
        yield ClaimResult(_ATTENTION, here, _compared(first, other))
    if slope := report.preference.slope:
        yield ClaimResult(_INTERFERENCE, f"slope {slope:+.2f}, one training", _compared(Estimate(0, 0, 0), slope))


def _compared(larger: Estimate, smaller: Estimate) -> str:
    """Return whether the first is larger, as the paper says, by intervals that do not meet."""
    if larger.low is None or larger.high is None or smaller.low is None or smaller.high is None:
        return UNDECIDED
    return CONFIRMED if larger.low > smaller.high else NOT_CONFIRMED if larger.high < smaller.low else UNDECIDED


def claims_page(report: ClaimsReport) -> str:
    """Render a table for each page."""
    introduction = (
        "Written by `python -m benchmarks.claims` from the pages of the benchmarks below, which say how each number was"
        f" measured. Networks are small, trainings short, images generated: *{CONFIRMED}* and *{NOT_CONFIRMED}* are"
        f" about these, and cannot confirm or refute a paper on COCO. *{UNDECIDED}* is not the same as equal. Intervals"
        f" are 95 %; close means within {CLOSE:g} PQ."
    )
    missing = ", ".join(f"`python -m {COMMANDS[name]}`" for name in report.missing)
    return markdown_page(
        "# The papers' claims",
        introduction,
        f"Not measured yet: {missing}." if missing else "",
        *(block for name, claims in report.pages.items() for block in _section(name, claims)),
    )


def _section(name: str, claims: Sequence[ClaimResult]) -> Iterator[str]:
    yield f"## [{name}]({name}.md)"
    yield f"`python -m {COMMANDS[name]}`"
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
