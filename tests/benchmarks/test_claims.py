"""The papers' claims beside what the published pages found."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import PAGES, ClaimsReport, claims_page, collect_claims
from benchmarks.compare_models.claims import CONFIRMED, NOT_CONFIRMED, ClaimResult
from benchmarks.compare_models.results import UNDECIDED
from benchmarks.harness.results import RESULTS, Summary, publish
from benchmarks.layers.report import LayersReport
from benchmarks.merging.__main__ import DRAWN, MergingReport
from panoptic.report.explained import Estimate
from panoptic.report.variants import EarlyExit, LayerExit
from tests.benchmarks.test_queries import REPORT
from tests.benchmarks.tiny_comparison import BUDGET
from tests.markdown import unpadded


def only(report: ClaimsReport) -> list[ClaimResult]:
    """The claims of the only page."""
    ((_, claims),) = report.pages.items()
    return list(claims)


def test_the_committed_page_has_the_claims_of_the_committed_pages() -> None:
    assert claims_page(collect_claims(RESULTS)) == (RESULTS / "claims.md").read_text()


def test_pages_that_are_missing_are_named(tmp_path: Path) -> None:
    found = collect_claims(tmp_path)
    assert found == ClaimsReport({}, list(PAGES))
    assert "Not measured yet: `python -m benchmarks.compare_models --seeds 0 1 2 --jobs 2`, " in claims_page(found)


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Summary(0.8, 0.7, 0.9), CONFIRMED),
        (Summary(0.9, 0.8, 1.1), UNDECIDED),
        (Summary(1.3, 1.2, 1.4), NOT_CONFIRMED),
    ],
)
def test_less_time_is_less_in_every_round(tmp_path: Path, ratio: Summary, verdict: str) -> None:
    report = MergingReport("detr", 3, "cpu", {DRAWN: "5 images"}, {}, {DRAWN: {"mask": ratio}})
    publish("merging", "", report, tmp_path)
    (claim,) = only(collect_claims(tmp_path))
    assert claim.verdict == verdict
    assert claim.here.startswith(f"{ratio:.2f} of the time of `detr`")


@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        (Estimate(0.001, -0.004, 0.006), CONFIRMED),
        (Estimate(0.012, 0.004, 0.02), UNDECIDED),
        (Estimate(0.03, 0.02, 0.04), NOT_CONFIRMED),
        (Estimate(-0.03, -0.04, -0.02), NOT_CONFIRMED),
        (Estimate(0.0, -0.02, 0.001), UNDECIDED),
    ],
)
def test_early_layers_are_close_if_their_interval_is(tmp_path: Path, loss: Estimate, verdict: str) -> None:
    layer = LayerExit("2", {}, loss, Estimate(20), Estimate(0.5))
    early_exit = EarlyExit(150, 1, "cpu", (layer, replace(layer, name="1"), replace(layer, name="all")))
    publish("layers", "", LayersReport(BUDGET, 0, 6, early_exit), tmp_path)
    (claim,) = only(collect_claims(tmp_path))
    assert claim.verdict == verdict
    assert claim.here.endswith("one training, in 50% of the time")
    assert f"2 of 6 layers: {100 * loss:+.1f} PQ lost" in unpadded(claims_page(collect_claims(tmp_path)))


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        (Estimate(-0.5, -0.75, -0.25), CONFIRMED),
        (Estimate(-0.5, -1, 0.25), UNDECIDED),
        (Estimate(0.5, 0.25, 1), NOT_CONFIRMED),
        (Estimate(-0.5), UNDECIDED),
    ],
)
def test_queries_interfere_if_their_slope_falls(tmp_path: Path, slope: Estimate, verdict: str) -> None:
    publish("queries", "", replace(REPORT, preference=replace(REPORT.preference, slope=slope)), tmp_path)
    attention, interference = only(collect_claims(tmp_path))
    assert (attention.verdict, interference.verdict) == (CONFIRMED, verdict)
    assert "50 (45 to 55) % of the attention of the first of 1 layers is inside the masks of things" in attention.here


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "is damaged or of another version (the document: Input should be a dictionary"),
        ("{}", "(baseline: Field required and 5 more); run the benchmark again that merging.md names"),
        ('{"baseline": "detr", "rounds": 3, "device": "", "masks": {}, "seconds": {}, "ratio": {}}', "lacks a part"),
    ],
)
def test_a_page_of_another_version_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "merging.json").write_text(content)
    with pytest.raises(ValueError, match=rf"merging\.json: .*{re.escape(said)}"):
        collect_claims(tmp_path)


def test_a_folder_that_is_not_there_has_no_claims(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: there is no such folder; name one"):
        collect_claims(tmp_path / "nowhere")
