"""The grid of trainings with and without deep supervision: its rows, its comparisons, and its page."""

import json
from itertools import product
from pathlib import Path

import pytest
import yaml

from benchmarks.deep_supervision import __main__ as deep_supervision
from benchmarks.deep_supervision.grid import Cell, grid_table, make_cells
from benchmarks.deep_supervision.report import GridReport
from benchmarks.harness.results import read_report
from benchmarks.harness.stages import Stages
from model.training.criterion import LossWeights
from panoptic.io.json_fields import JsonObject, read_json, write_json
from tests.benchmarks.tiny_comparison import METRICS, counts_by_image
from tests.markdown import unpadded

ATTENTION = ", stuff: joint, mask_head: fpn", ""


def run(params: Path, *options: str) -> None:
    folders = ["--params", str(params), "--work", str(params.parent / "work"), "--out", str(params.parent / "out")]
    deep_supervision.main([*folders, *options])


def test_rows_differ_in_what_is_asked_alone() -> None:
    cells = make_cells([6, 2], ["learned", "encoder"], [1.0, 2.0], [800, 400, 800])
    assert cells == [Cell(*values) for values in product((2, 6), ("encoder", "learned"), (1.0, 2.0), (400, 800))]
    rows = grid_table(cells, ["deep_supervision", "box_free"], LossWeights(token_class=1.0)).rows
    assert len(rows) == 16 * 3
    reference = rows["layers_6-encoder-class_2-steps_400"]
    assert reference.steps == 400
    assert reference.settings["model"] == {
        "query_initialization": "encoder",
        "token_classes": True,
        "thing_mask_layers": 6,
        "stuff_mask_layers": 6,
    }
    losses = {"query_class": 4.0, "stuff_class": 8.0, "token_class": 2.0}
    assert reference.settings["train"] == {"losses": losses}
    without = rows["layers_6-encoder-class_2-steps_400-deep_supervision"]
    assert without.settings["train"] == {"losses": losses, "deep_supervision": False}
    assert without.settings["model"] == reference.settings["model"]
    centers = rows["layers_6-encoder-class_2-steps_400-box_free"]
    assert centers.settings["model"] == {**reference.settings["model"], "location_target": "center"}
    assert centers.settings["train"] == reference.settings["train"]
    learned = rows["layers_6-learned-class_2-steps_400"].settings
    assert learned["train"] == {"losses": {**losses, "token_class": 0.0}}
    assert learned["model"]["query_initialization"] == "learned"


def test_differences_have_the_sign_of_their_title(
    params: Path, stages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deep supervision gains 20 PQ in every seed, centers lose 10."""
    quality = {"deep_supervision": 0.3, "box_free": 0.4}

    def score(
        _stages: Stages, params: Path, index: Path, model: Path, folder: Path, instances: Path | None = None
    ) -> JsonObject:
        name = folder.name.rsplit("-", 1)[0].rsplit("-", 1)[-1]
        pq = quality.get(name, 0.5) + 0.001 * int(folder.name[-1])
        write_json(folder / "per_image.json", counts_by_image(pq))
        write_json(folder / "error_breakdown.json", {"all": {"pq_loss": {}}})
        write_json(folder / "metrics.json", {**METRICS, "pq": {"all": pq, "things": pq, "stuff": pq}})
        return read_json(folder / "metrics.json")

    monkeypatch.setattr(Stages, "score", score)
    params.write_text(params.read_text().replace(*ATTENTION))
    options = (
        "--depths",
        "1",
        "2",
        "--queries",
        "encoder",
        "--steps",
        "2",
        "4",
        "--class-weights",
        "2",
        "--seeds",
        "0",
        "1",
        "2",
    )
    run(params, *options)
    assert len(stages) == 2 * 2 * 3 * 3, "trainings: depths, steps, rows, seeds"
    settings = yaml.safe_load(
        (params.parent / "work/layers_2-encoder-class_2-steps_4-deep_supervision-1/params.yaml").read_text()
    )
    assert (settings["train"]["epochs"], settings["train"]["seed"]) == (2, 1)
    assert settings["train"]["deep_supervision"] is False
    report = read_report("deep_supervision", GridReport, params.parent / "out")
    assert report.planned == 8
    found = {(point.question, point.cell): point for point in report.points}
    gain = found["deep_supervision", Cell(2, "encoder", 2.0, 4)]
    assert gain.means == pytest.approx((50.1, 30.1))
    assert gain.compared.decision.difference.value == pytest.approx(20)
    assert gain.compared.call == "above"
    assert found["box_free", Cell(1, "encoder", 2.0, 2)].compared.decision.difference.value == pytest.approx(-10)
    page = unpadded((params.parent / "out/deep_supervision.md").read_text())
    assert "Here: with 1 layers above in 2 of 2; with 2 layers above in 2 of 2." in page
    assert "Here: with 1 layers below in 2 of 2; with 2 layers below in 2 of 2." in page
    assert "| layers | queries | class | steps | deep supervision | none | difference |" in page
    assert "| 2 | encoder | 2 | 4 | 50.1 | 30.1 | +20.0 |" in page
    assert "![Differences against the steps of training](deep_supervision.png)" in page
    assert (params.parent / "out/deep_supervision.png").read_bytes().startswith(b"\x89PNG")

    # Resumed: nothing is trained again, and a longer grid trains what is missing.
    run(params, *options, "--questions", "box_free")
    assert len(stages) == 36
    assert {
        one["question"] for one in json.loads((params.parent / "out/deep_supervision.json").read_text())["points"]
    } == {"box_free"}


def test_one_seed_has_no_interval(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(params, "--seeds", "0", "0")
    assert ended.value.code == 2
    assert "--seeds has 1; give at least 2" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--steps", "0", "400"), ("--steps", "-4"), ("--class-weights", "nan")])
def test_values_of_no_training_are_refused(
    wrong: tuple[str, ...], params: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(params, *wrong)
    assert ended.value.code == 2
    assert "give at least 1 step, and finite weights from 0 on" in capsys.readouterr().err


def test_class_weights_that_have_one_name_are_one_network() -> None:
    assert len(make_cells([2], ["learned"], [1.0, 1.0000001], [400])) == 1
