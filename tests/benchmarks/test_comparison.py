"""The comparison of models on a tiny dataset through real stages, and the sentences on its page."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare_models import __main__ as compare_models
from benchmarks.compare_models.report import (
    ComparisonReport,
    SeedResult,
    TrainingBudget,
    close_rows,
    comparison_page,
    paired_differences,
    verdict,
)
from benchmarks.compare_models.rows import ROWS, Claim
from tests.markdown import unpadded
from tests.tiny_dataset import random_image, write_split

BUDGET = TrainingBudget(steps=800, batch_size=4, images=150, jobs=2, threads=1, device="some machine")
PARAMS = """
dataset: {{name: tiny, root: {root}, train: train, val: val}}
annotate:
model: {{backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 2, levels: 3, points: 2,
  encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32,
  mask_feedforward: 32, queries: 6, stuff: joint, mask_head: fpn}}
train: {{epochs: 9, batch_size: 2, images_per_forward: 2, workers: 0, initial_weights: random,
  augmentation: {{resize_shorter: [], crop_probability: 0}}}}
predict: {{shorter: 32, longer: 64}}
"""


@pytest.fixture
def params(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        write_split(tmp_path / "data", split, [random_image(rng, number, 32, 32) for number in range(4)])
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS.format(root=tmp_path / "data"))
    return file


def run(params: Path, *options: str) -> None:
    folders = ["--params", str(params), "--work", str(params.parent / "work"), "--out", str(params.parent / "out")]
    compare_models.main([*folders, *options])


def logs(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.log")}


def test_rows_run_once_fail_independently_and_are_published(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("--rows", "v2", "v2_p", "--steps", "4", "--jobs", "2", "--seeds", "0")
    run(params, *rows)
    content = json.loads((params.parent / "out/comparison.json").read_text())
    assert [result["row"] for result in content["results"]] == ["v2", "v2_p"]
    whole, scored_only = content["results"]
    assert whole["seconds"] > 0
    assert scored_only["seconds"] is None
    assert whole["parameters"] == scored_only["parameters"] > 0
    assert "epochs: 2" in (params.parent / "work/v2-0/params.yaml").read_text()
    assert not (params.parent / "work/v2_p-0/train.log").exists()
    page = unpadded((params.parent / "out/comparison.md").read_text())
    assert "| v2's weights, merging p |" in page
    done = logs(params.parent / "work")
    capsys.readouterr()
    run(params, *rows)
    assert ": training" not in capsys.readouterr().out
    assert logs(params.parent / "work") == done

    # Other settings of `predict`: predicted anew, not trained. DETR's mask head has no layers to read masks out of.
    params.write_text(params.read_text().replace("shorter: 32", "shorter: 24"))
    with pytest.raises(SystemExit) as ended:
        run(params, "--rows", "v2", "v2_layer_1", "--steps", "4")
    changed = {path for path, time in logs(params.parent / "work").items() if done.get(path) != time}
    assert {Path(path).parts[-2:] for path in changed} == {
        ("v2-0", "predict.log"),
        ("v2-0", "evaluate.log"),
        ("v2_layer_1-0", "predict.log"),
    }
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert "v2_layer_1-0: `" in message
    assert "mask_layer is 1, but the mask head 'fpn' has no layers" in message
    content = json.loads((params.parent / "out/comparison.json").read_text())
    assert [result["row"] for result in content["results"]] == ["v2"]


def test_steps_other_than_whole_epochs_are_refused(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(params, "--rows", "v2", "--steps", "5")
    assert ended.value.code == 2
    assert "--steps is 5, but a training consists of whole epochs of 2 steps" in capsys.readouterr().err


def result(row: str, seed: int, pq: float, seconds: float | None = 100.0) -> SeedResult:
    return SeedResult(row, seed, {"all": pq, "things": pq - 10, "stuff": pq + 10}, 1_280_000, seconds)


def test_the_page_shows_mean_range_and_verdict() -> None:
    results = [result("v2", 0, 70.0), result("v2", 1, 72.0), result("v1", 0, 60.0), result("v1", 1, 63.0, None)]
    page = unpadded(comparison_page(ComparisonReport(BUDGET, results)))
    line = "| Panoptic SegFormer, version 2 | 71.0 (70.0 to 72.0) | 61.0 (60.0 to 62.0) | 81.0 (80.0 to 82.0) | 100 |"
    assert f"{line} 1.28 M |" in page
    assert "Here: 9.5 PQ below Panoptic SegFormer, version 2 on average of 2 seeds; as in the paper." in page
    assert "800 optimizer steps" in page


def test_rows_without_a_common_seed_are_not_compared() -> None:
    assert paired_differences([result("v1", 0, 60.0)], [result("v2", 1, 70.0)]) == []
    assert "No seed in common" in comparison_page(
        ComparisonReport(BUDGET, [result("v1", 0, 60.0), result("v2", 1, 70.0)])
    )


@pytest.mark.parametrize(
    ("relation", "differences", "expected"),
    [
        ("below", [-1.0, -0.1], "as in the paper"),
        ("below", [-1.0, 0.1], "undecided, the seeds disagree"),
        ("below", [1.0], "not as in the paper"),
        ("above", [2.0, 0.5], "as in the paper"),
        ("above", [-2.0], "not as in the paper"),
        ("close", [-1.5, 0.9], "as in the paper"),
        ("close", [-1.5, -0.9], "not as in the paper"),
        ("below", [math.nan], "not as in the paper"),
    ],
)
def test_a_verdict_needs_every_seed(relation: str, differences: list[float], expected: str) -> None:
    assert verdict(Claim("v2", relation, ""), differences) == expected


def test_rows_name_existing_overrides_and_rows() -> None:
    for name, row in ROWS.items():
        assert row.override is None or (Path("experiments/ablations") / f"{row.override}.yaml").is_file(), name
        assert row.weights_of is None or row.weights_of in ROWS
        assert all(claim.other in ROWS and claim.relation in ("below", "above", "close") for claim in row.claims)


def test_close_rows_get_more_seeds() -> None:
    found = {"v2": 60.0, "box_free": 61.5, "joint_matching": 50.0, "v2_layer_2": 59.0}
    results = [SeedResult(row, 0, {"all": pq}, 1, None) for row, pq in found.items()]
    assert close_rows(results) == ["v2", "box_free", "v2_layer_2"]
    assert close_rows(results[2:]) == []


@pytest.mark.parametrize(("pq", "shown"), [(70.0, True), (50.0, False)])
def test_a_finding_is_shown_only_where_a_claim_is_not_confirmed(pq: float, shown: bool) -> None:
    results = [
        SeedResult(row, 0, {"all": value, "things": value, "stuff": value}, 1, None)
        for row, value in {"v2": 60.0, "no_deep_supervision": pq}.items()
    ]
    assert ("investigated" in comparison_page(ComparisonReport(BUDGET, results))) == shown
