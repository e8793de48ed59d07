"""PQ against parameters: the papers' points are those of their tables, and ours those of trained rows."""

from pathlib import Path

import pytest
from matplotlib.text import Annotation

from benchmarks.harness.results import read_report
from benchmarks.parameters.__main__ import main
from benchmarks.parameters.report import (
    OTHERS,
    VERSION_2,
    ParametersReport,
    mini_points,
    paper_points,
    parameters_figure,
)
from tests.benchmarks.tiny_comparison import publish_quality


def test_points_of_the_papers_are_the_networks_with_both_numbers() -> None:
    points = {(point.series, point.title): point for point in paper_points()}
    best = points[VERSION_2, "Panoptic SegFormer, PVTv2-B5, 24 epochs"]
    assert (best.parameters, best.pq) == (104.9, (55.4,))
    assert points[VERSION_2, "Panoptic SegFormer, PVTv2-B2-Linear"].pq == (52.5,), "from the figure alone"
    assert points[OTHERS, "MaskFormer, Swin-L"].parameters == 212
    assert not any("Panoptic FPN" in title for _, title in points), "the papers print no parameters of it"
    assert points[OTHERS, "DETR, R50"].parameters == 42.9, "as version 2 prints it, not version 1"


def test_rows_with_the_weights_of_another_or_another_budget_are_no_networks(tmp_path: Path) -> None:
    found = {"v2": [67.0, 69.0], "v2_p": [57.0, 58.0], "v2_equal_time": [70.0], "unheard of": [10.0]}
    publish_quality("comparison", found, tmp_path)
    points, sources = mini_points(tmp_path)
    assert sources == ("comparison",)
    assert [(point.title, point.parameters, point.pq) for point in points] == [
        ("Panoptic SegFormer, version 2", 1.25, (67.0, 69.0)),
        ("unheard of", 1.25, (10.0,)),
    ]
    assert points[0].mean == 68


def test_the_command_publishes_page_numbers_and_plot(tmp_path: Path) -> None:
    publish_quality("families", {"mask2former": [70.0]}, tmp_path)
    main(["--results", str(tmp_path), "--out", str(tmp_path)])
    report = read_report("parameters", ParametersReport, tmp_path)
    assert [point.series for point in report.mini] == ["families"]
    assert report.papers == paper_points()
    assert (tmp_path / "parameters.png").read_bytes().startswith(b"\x89PNG")
    assert "[families](families.md)" in (tmp_path / "parameters.md").read_text()


@pytest.mark.parametrize("count", [0, 1, 9])
def test_labels_of_equal_points_stand_apart(count: int, tmp_path: Path) -> None:
    publish_quality("comparison", {f"row {number}": [50.0 + number // 3] for number in range(count)}, tmp_path)
    figure = parameters_figure(ParametersReport(paper_points(), *mini_points(tmp_path)))
    labels = [text.xy[1] for text in figure.axes[1].texts if isinstance(text, Annotation)]
    assert len(set(labels)) == len(labels) == count
