"""Where the queries of networks attend and what they find: a tiny real run, and the page."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks import queries
from benchmarks.harness.results import read_report
from benchmarks.queries import JOINT, WITH, WITHOUT, QueriesReport, mixed, queries_page, queries_table
from panoptic.report.explained import Estimate, Layer, LayerCurve, Preference, QueryPoint
from tests.benchmarks.tiny_comparison import BUDGET
from tests.markdown import unpadded


def curve(group: str, *inside: Estimate) -> LayerCurve:
    layers = tuple(Layer(str(number), found, (found,)) for number, found in enumerate(inside, start=1))
    return LayerCurve("attention", group, 20, Estimate(0.08), layers)


REPORT = QueriesReport(
    BUDGET,
    seed=0,
    depth=1,
    pq={WITH: 60.0, WITHOUT: 58.25, JOINT: 51.0},
    attention={
        WITH: [curve("things", Estimate(0.5, 0.45, 0.55), Estimate(0.6))],
        WITHOUT: [curve("things", Estimate(0.1, 0.05, 0.125), Estimate(0.625))],
    },
    preference=Preference(
        joint=True,
        learned=True,
        points=(QueryPoint(3, 30, 10, 8, 2), QueryPoint(4, 90, 10, 4, 6), QueryPoint(5, 0, 80, 70, 10)),
        slope=Estimate(-0.5, -0.75, -0.25),
        intercept=0.9,
    ),
)


def test_the_page_has_attention_by_layer_and_the_queries_that_find_both() -> None:
    page = unpadded(queries_page(REPORT))
    assert "| layer | things, with deep supervision | things, without |" in page
    assert "| 1 | 50 (45 to 55) | 10 (5 to 12) |" in page
    assert "PQ: with deep supervision 60.0, without 58.2, joint matching 51.0." in page
    assert "Of 3 queries that found anything, 3 found stuff that counts, and of these 2 found things as well." in page
    assert "The slope of the regression is -0.50 (-0.75 to -0.25)." in page
    assert page.index("| 3 | 30 | 10 | 0.75 | 0.80 |") < page.index("| 4 | 90 | 10 | 0.90 | 0.40 |")
    assert "| 5 |" not in page


def test_queries_without_enough_stuff_are_not_listed() -> None:
    few = replace(REPORT.preference, points=(QueryPoint(1, 9, 9, 5, 4), QueryPoint(2, 9, 30, 5, 5)))
    assert [point.query for point in mixed(few)] == [2]


def test_a_page_without_queries_that_find_both_says_so() -> None:
    apart = replace(REPORT.preference, points=(QueryPoint(1, 9, 0, 0, 0), QueryPoint(2, 0, 30, 15, 5)), slope=None)
    page = queries_page(replace(REPORT, preference=apart))
    assert "and of these 0 found things as well." in page
    assert "there is nothing to compare." in page
    assert "thing preference |" not in page


def test_rows_differ_in_what_is_asked_alone() -> None:
    rows = queries_table(6).rows
    assert {name: row.settings["model"].get("stuff") for name, row in rows.items()} == {
        WITH: None,
        WITHOUT: None,
        JOINT: "joint",
    }
    assert rows[WITHOUT].settings["train"] == {**rows[WITH].settings["train"], "deep_supervision": False}
    assert rows[WITHOUT].settings["model"] == rows[WITH].settings["model"]


@pytest.mark.slow
def test_networks_are_trained_and_explained(params: Path) -> None:
    params.write_text(params.read_text().replace(", stuff: joint, mask_head: fpn", ""))
    folder = params.parent
    folders = ["--params", str(params), "--work", str(folder / "work"), "--out", str(folder / "out")]
    queries.main([*folders, "--depth", "1", "--steps", "2"])
    report = read_report("queries", QueriesReport, folder / "out")
    assert list(report.pq) == [WITH, WITHOUT, JOINT]
    assert report.preference.joint
    assert report.preference.learned
    settings = yaml.safe_load((folder / f"work/{WITHOUT}-0/params.yaml").read_text())
    assert settings["train"]["deep_supervision"] is False
    assert (folder / f"work/{JOINT}-0/explain/explain.json").exists()


def test_impossible_numbers_are_refused(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        queries.main(["--params", str(params), "--depth", "0"])
    assert ended.value.code == 2
    assert "mask decoders cannot have 0 layers; give at least 1" in capsys.readouterr().err
