"""The longer training, shortened: images are drawn once, real stages train and score, the page shows the outcome."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.long_training import __main__ as long_training
from benchmarks.long_training.report import TrainingOutcome, outcome_page
from tests.markdown import unpadded

RECIPE = """
dataset: {{name: drawn, root: {root}, train: train, val: val}}
model: {{channels: 32, heads: 2, encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1,
  feedforward: 32, mask_feedforward: 32}}
train: {{epochs: 2, batch_size: 4, images_per_forward: 4, workers: 0, validate_every: 2}}
"""
OUTCOME = TrainingOutcome(
    recipe="some.yaml",
    device="some GPU",
    torch="2.13.0",
    images=16_000,
    parameters=24_900_000,
    steps=12_000,
    seconds=1_830.0,
    pq={"all": 85.04, "things": 80.0, "stuff": 92.0},
    boundary_pq={"all": 70.0, "things": 65.0, "stuff": float("nan")},
    curve=[{"step": 3000.0, "all": 71.26, "things": 60.0, "stuff": 90.0}],
)


@pytest.mark.slow
def test_images_are_drawn_once_trained_on_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(root=tmp_path / "drawn"))
    options = ["--recipe", str(recipe), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    long_training.main([*options, "--images", "8", "--val-images", "3"])
    content = json.loads((tmp_path / "out/long_training.json").read_text())
    assert (content["images"], content["steps"], [row["step"] for row in content["curve"]]) == (8, 4, [2.0, 4.0])
    assert 0 <= content["pq"]["all"] <= 100
    assert content["seconds"] > 0
    assert "drawing 11 images" in capsys.readouterr().out

    long_training.main([*options, "--images", "80"])
    again = json.loads((tmp_path / "out/long_training.json").read_text())
    assert again == content | {"seconds": again["seconds"]}
    assert "drawn exists; its images are used" in capsys.readouterr().out


def test_the_page_shows_the_outcome() -> None:
    page = unpadded(outcome_page(OUTCOME))
    assert "`some.yaml` over `params.yaml`, 24.9 million parameters, 12000 steps on 16000 drawn images" in page
    assert "(30.5 minutes)" in page
    assert "| PQ | 85.0 | 80.0 | 92.0 |\n| boundary PQ | 70.0 | 65.0 | nan |" in page
    assert "| 3000 | 71.3 | 60.0 | 90.0 |" in page
    assert "(interrupted, so not timed)" in outcome_page(replace(OUTCOME, seconds=None))


def test_a_stage_that_fails_ends_it_with_what_it_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "empty").mkdir()
    recipe.write_text(RECIPE.format(root=tmp_path / "empty"))
    with pytest.raises(SystemExit) as end:
        long_training.main(["--recipe", str(recipe), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "panoptic_train.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_images_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        long_training.main(["--val-images", "0"])
    assert "give at least 1" in capsys.readouterr().err
