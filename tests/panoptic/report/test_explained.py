"""The section about what is inside a network is there only where the stage has run, and claims no more than it may."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic.io.errors import DatasetError
from panoptic.report.comparison import Comparison
from panoptic.report.comparison_page import render_comparison
from panoptic.report.explained import Drawing, Estimate, Explanation, Layer, LayerCurve, Preference, QueryPoint
from panoptic.report.page import render
from panoptic.report.run_files import RunFiles
from panoptic.visualization import write_png
from tests.panoptic.report.made_runs import write_runs

HALF = Estimate(0.5, 0.4, 0.6)
LAYERS = (Layer("1", Estimate(0.125, 0.1, 0.15), (HALF, Estimate(0.3))), Layer("last", Estimate(0.25), (HALF,)))
POINTS = (QueryPoint(0, 3, 1, 1, 0), QueryPoint(1, 4, 0, 0, 0), QueryPoint(7, 0, 2, 1, 1))
EXPLANATION = Explanation(
    images=7,
    with_ground_truth=6,
    curves=(
        LayerCurve("attention", "things", 11, Estimate(0.0625), LAYERS),
        LayerCurve("masks read", "things", 11, Estimate(0.0625), LAYERS),
        LayerCurve("attention", "stuff", 12, HALF, LAYERS[:1]),
        LayerCurve("encoder", "stuff", 12, HALF, LAYERS[:1]),
    ),
    preference=Preference(True, False, POINTS, Estimate(-0.3, -0.4, -0.2), 0.9),
    left_out={"sampling": "<b> dense attention samples no points"},
    drawings=[Drawing("attention", "001.png", "<i>1</i>.jpg", "ball, score 0.50, query 3")],
)


def write_explanation(run: Path, explanation: Explanation = EXPLANATION) -> None:
    write_png(run / "explain/images/001.png", np.full((20, 30, 3), 90, np.uint8))
    (run / "explain/explain.json").write_bytes(explanation.encode())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_runs(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "runs"))


def test_an_explanation_is_read_as_it_was_written(tmp_path: Path) -> None:
    for explanation in (EXPLANATION, replace(EXPLANATION, preference=None, curves=(), drawings=[])):
        (tmp_path / "explain.json").write_bytes(explanation.encode())
        assert Explanation.read(tmp_path / "explain.json") == replace(explanation, drawings=tuple(explanation.drawings))


def test_the_section_is_there_only_where_the_stage_has_run(run: Path) -> None:
    before = render(RunFiles.read(run))
    assert 'id="inside"' not in before
    write_explanation(run)
    page = render(RunFiles.read(run))
    assert 'href="#inside"' in page
    text = re.sub(r"\s+", " ", page)
    assert '12.5 <span class="soft">(10.0 to 15.0)</span>' in text
    assert "stuff precision changes by -3.0 points (95 % interval -4.0 to -2.0): queries that prefer" in text
    assert "2 of 3 queries found stuff" in text
    assert "&lt;b&gt; dense attention samples no points" in text
    assert "&lt;i&gt;1&lt;/i&gt;.jpg" in text
    assert page.count("data:image/webp") == before.count("data:image/webp") + 1
    assert render(RunFiles.read(run)) == page


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (Estimate(0.1, -0.1, 0.3), "undecided"),
        (Estimate(0.1, 0.05, 0.3), "more precise at stuff, unlike in the paper"),
        (Estimate(0.1), "nothing is said about chance"),
        (None, "all have one preference, so there is no line"),
    ],
)
def test_a_slope_is_only_called_one_where_its_interval_excludes_zero(
    run: Path, slope: Estimate | None, words: str
) -> None:
    assert EXPLANATION.preference is not None
    preference = replace(EXPLANATION.preference, slope=slope, intercept=None if slope is None else 0.5)
    write_explanation(run, replace(EXPLANATION, preference=preference))
    assert words in re.sub(r"\s+", " ", render(RunFiles.read(run)))


def test_decoupled_queries_are_said_to_have_no_line(run: Path) -> None:
    write_explanation(run, replace(EXPLANATION, preference=Preference(False, True, POINTS, None, None)))
    page = re.sub(r"\s+", " ", render(RunFiles.read(run)))
    assert "Preference is 1 or 0 by construction" in page
    assert "Thing preference and stuff precision of queries" not in page, "there is nothing to plot"


def test_a_comparison_draws_the_curves_of_all_runs(made: list[Path], tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(one, tmp_path / name)) for one, name in zip(made, ("with", "without"), strict=True)]
    assert 'id="inside"' not in render_comparison(Comparison.read(runs))
    write_explanation(runs[0])
    page = render_comparison(Comparison.read(runs))
    assert "B: there is no explain/explain.json" in re.sub("</?code>", "", page)
    write_explanation(runs[1])
    page = render_comparison(Comparison.read(runs))
    for letter, folder in zip("AB", runs, strict=True):
        for part in ("attention", "masks read"):
            assert f"{letter}: {folder}, {part}" in page
    assert "Inside the ground truth mask: stuff" in page


def test_damage_is_an_error_that_names_the_file(run: Path) -> None:
    write_explanation(run)
    drawing = run / "explain/images/001.png"
    drawing.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"001\.png: cannot be read as an image.*dvc repro explain"):
        render(RunFiles.read(run))
    drawing.unlink()
    with pytest.raises(DatasetError, match=r"001\.png"):
        render(RunFiles.read(run))
    path = run / "explain/explain.json"
    path.write_text(path.read_text().replace('"segments": 11', '"segments": "many"'))
    with pytest.raises(DatasetError, match=r"explain\.json: curves\[0\]: 'segments' should be an integer"):
        RunFiles.read(run)
