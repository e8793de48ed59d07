"""The costs of the papers' networks, measured on a tiny network in their place."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compare_models.results import read_results
from benchmarks.compare_models.rows import PAPERS
from benchmarks.harness.results import Summary, read_report
from benchmarks.ladder import __main__ as ladder
from benchmarks.ladder.__main__ import counted
from benchmarks.ladder.report import CostResult, LadderReport, ladder_page
from benchmarks.ladder.rows import ROWS
from tests.benchmarks.tiny_comparison import publish_quality
from tests.markdown import unpadded
from tests.model.network.tiny_network import TINY


def test_rows_are_measured_and_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {name: replace(row, model=replace(row.model, config=TINY)) for name, row in ROWS.items()}
    monkeypatch.setattr(ladder, "ROWS", tiny)
    publish_quality("comparison", {"detr_p": [20.0, 22.0]}, tmp_path)
    given = ["--rows", "v1_r50", "detr_m", "detr", "--size", "48", "64", "--rounds", "2"]
    ladder.main([*given, "--comparison", str(tmp_path / "comparison.json"), "--out", str(tmp_path / "out")])
    report = read_report("ladder", LadderReport, tmp_path / "out")
    assert [found.row for found in report.rows] == ["detr", "detr_m", "v1_r50"]
    first, merged, _ = report.rows
    assert first.speedup == Summary(1, 1, 1)
    assert first.training_mb == merged.training_mb > 0
    assert merged.seconds.lowest > 0
    assert (first.pq, merged.pq) == ([20, 22], [])
    page = unpadded((tmp_path / "out/ladder.md").read_text())
    assert "from comparison.json" in page
    assert (
        "| row | M | paper | G | paper | FPS | times | paper | training, MB | paper | PQ on mini | PQ, paper |" in page
    )
    assert "| 21.0 (20.0 to 22.0) | 43.4 |" in page
    assert "## Table 4 of version 1" in page
    assert page.count("247.5 G was not counted at 1200 x 800") == 1, "a remark for both rows of DETR"


def test_counts_are_those_of_the_papers_but_for_what_a_joint_set_of_queries_does_not_use() -> None:
    parameters, gmacs = counted("v2")
    paper = ROWS["v2"].model
    assert parameters == pytest.approx(paper.parameters, rel=0.002)
    assert gmacs == pytest.approx(paper.gmacs, rel=0.002)
    parameters, gmacs = counted("joint_matching")
    paper = ROWS["joint_matching"].model
    assert parameters + 6.48 == pytest.approx(paper.parameters, rel=0.003)
    assert gmacs + 17.7 == pytest.approx(paper.gmacs, rel=0.003)


def test_rows_are_those_of_the_comparison() -> None:
    assert all(row.compared in PAPERS.rows for row in ROWS.values() if row.compared)


def test_without_a_comparison_there_is_no_quality(tmp_path: Path) -> None:
    assert not read_results(tmp_path / "comparison.json")
    result = CostResult("v1_pvtv2_b5", 100.9, 391.0, Summary(0.5, 0.4, 1.0), Summary(1, 1, 1), 900.0, [])
    page = unpadded(ladder_page(LadderReport((240, 320), 7, "some machine", None, [result])))
    assert "There is no PQ on `mini` yet" in page
    assert "| version 1, PVTv2-B5 | 100.9 | 100.9 | 391.0 | 391.0 | 2.00 (1.00 to 2.50) |" in page
    assert "| 5.0 | 900 | 23112 |" in page
    assert "table 5" not in page


def test_impossible_sizes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ladder.main(["--size", "0", "64"])
    assert ended.value.code == 2
    assert "give at least 1 of everything" in capsys.readouterr().err
