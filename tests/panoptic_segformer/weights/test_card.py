"""The model card has what the run says, in the format that the hub reads, and nothing that was not said."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from model.verify.__main__ import main as verify
from model.weights.description import load_description
from panoptic_segformer.weights.__main__ import main
from tests.panoptic_segformer.weights.small_bundle import METRICS, make_run, save_weights


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


def written(weights: Path, out: Path, *options: str) -> str:
    main(["card", str(weights), "--out", str(out), *options])
    return out.read_text()


def rows(card: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell."""
    lines = [line.strip("|").split("|") for line in card.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_hub_reads_license_and_metrics(run: Path, tmp_path: Path) -> None:
    text = written(run, tmp_path / "README.md", "--license", "cc-by-4.0", "--repository", "owner/tiny")
    data = ModelCard(text).data
    assert data["license"] == "cc-by-4.0"
    assert data["pipeline_tag"] == "image-segmentation"
    assert "panoptic-segmentation" in data["tags"]
    values = {result.metric_type: result.metric_value for result in data["eval_results"]}
    assert values == {
        "pq": 79.55,
        "pq_things": 67.63,
        "pq_stuff": 91.48,
        "boundary_pq": 67.76,
        "mean_iou": 78.94,
        "map": 38.79,
    }
    assert {result.dataset_name for result in data["eval_results"]} == {"tiny"}


def test_the_page_says_what_the_run_says(run: Path, tmp_path: Path) -> None:
    card = written(run, tmp_path / "README.md", "--license", "mit", "--repository", "owner/tiny")
    table = rows(card)
    assert table["PQ"] == ["79.5 (78.1 to 80.9)", "67.6", "91.5"]
    assert table["mIoU"] == ["78.9", "", ""]
    assert table["Box AP"] == ["-", "", ""]
    assert table["thing 0"] == ["100.0", "100.0", "100.0", "2"]
    assert table["stuff 3"] == ["70.0", "70.0", "70.0", "5"]
    assert "The best and the worst of 4 classes" in card
    assert table["train images"][1:] == ["4", "`abababababababab`"]
    assert "Over the 4 validation images, in percent" in card
    assert table["epochs"] == ["3"]
    assert table["steps"] == ["6"]
    for part in (
        "# tiny\n",
        'panoptic_segformer.load("owner/tiny")("photo.jpg")',
        "    panoptic predict photo.jpg --model owner/tiny",
        "shorter side has 48 pixels",
        "**Things** (3): thing 0, thing 1, thing 2.",
        "commit `c0ffee`",
        load_description(run).digest,
        "    panoptic weights pull owner/tiny --out tiny\n    panoptic weights verify tiny/model.safetensors\n",
        "4 images for training and 4 for validation; no image is in both.",
        "`mit`, as its owner states.",
    ):
        assert part in card


def test_nothing_is_invented_where_nothing_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = save_weights(tmp_path / "own.safetensors")
    card = written(weights, tmp_path / "README.md")
    assert "no license is stated" in capsys.readouterr().out
    data = ModelCard(card).data
    assert data.get("license") is None
    assert data.get("model-index") is None
    for part in (
        "Not stated. Ask the owner",
        "None come with these weights.",
        "Not known: there is no passport.",
        "No passport comes with these weights",
        f"--model {weights}",
    ):
        assert part in card


def test_scores_without_a_passport_are_said_to_be_without(run: Path, tmp_path: Path) -> None:
    weights = save_weights(tmp_path / "own.safetensors")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/metrics.json").write_text(json.dumps(METRICS))
    card = written(weights, tmp_path / "README.md", "--scores", str(tmp_path / "scores"))
    assert rows(card)["PQ"][0] == "79.5 (78.1 to 80.9)"
    assert "no passport does" in card
    with pytest.raises(SystemExit):
        main(["card", str(run), "--scores", str(tmp_path / "scores")])
    with pytest.raises(SystemExit):
        main(["card", str(weights), "--scores", str(tmp_path)])


def test_a_stale_passport_of_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = make_run(tmp_path / "run")
    make_run(tmp_path / "newer", seed=1)
    (tmp_path / "run/passport.json").write_bytes((tmp_path / "newer/passport.json").read_bytes())
    with pytest.raises(SystemExit):
        main(["card", str(weights)])
    assert "is of the results of other weights" in capsys.readouterr().err


def test_verify_finds_what_lies_beside_pulled_weights(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flat, as `pull` leaves it: without the option, the passport of the results would not be looked at."""
    for path in (*run.parent.iterdir(), run.parents[1] / "passport.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SystemExit):
        main(["verify", str(tmp_path / "model.safetensors"), "--steps", "0", "--images", "0", "--json"])
    checks = {check["name"]: check["verdict"] for check in json.loads(capsys.readouterr().out)}
    assert checks["files of the weights"] == checks["chain of the results"] == checks["parent of the results"] == "ok"


def test_verify_has_the_options_of_the_program_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    def options(command: Callable[[list[str]], object], *words: str) -> set[str]:
        with pytest.raises(SystemExit):
            command([*words, "--help"])
        return set(re.findall(r"^  (--[a-z]+)", capsys.readouterr().out, re.MULTILINE))

    own, behind = options(main, "verify"), options(verify)
    assert own == behind - {"--results", "--pretrained"}, "which it finds itself"
