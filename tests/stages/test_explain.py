"""The explain stage writes the same bytes twice, all or nothing, and says what it left out."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from model.explanation.explaining import Explainer
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.datasets.coco import build_index
from panoptic.report.explained import Explanation
from stages import explain
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import random_image, write_split

PARAMS = """explain: {%s}
predict: {shorter: 48, longer: 96, batch_size: 2,
  merging: {score_threshold: %d, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}"""
SIZES = [(48, 64), (64, 48), (48, 64), (48, 96), (48, 64)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index and weights."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    split = write_split(root, "val", [random_image(rng, 100 + index, *size) for index, size in enumerate(SIZES)])
    index = build_index(split.panoptic_json, split.masks, split.images)
    index.save(root / "val.index")
    torch.manual_seed(0)
    network = PanopticSegFormer(NETWORK, len(index.categories.things), len(index.categories.stuff))
    save_checkpoint(root / "model.safetensors", Checkpoint(NETWORK, index.categories, {}, network))
    return root


def run(
    folder: Path,
    out: Path,
    settings: str = "drawn: 2, segments: 1, bootstrap: 20",
    model: str = "model.safetensors",
    threshold: int = 0,
) -> None:
    (folder / "params.yaml").write_text(PARAMS % (settings, threshold))
    arguments = ["--params", str(folder / "params.yaml"), "--index", str(folder / "val.index")]
    explain.main([*arguments, "--model", str(folder / model), "--out", str(out)])


def files_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_equal_runs_give_equal_bytes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        run(folder, tmp_path / name)
    assert "5 images explained, 5 of them against ground truth; 4 drawings" in capsys.readouterr().out
    first, second = (files_of(tmp_path / name) for name in ("first", "second"))
    assert first.pop("early_exit.json") != second.pop("early_exit.json"), "it has times, and so a file of its own"
    assert first == second
    drawn = [f"images/{image:03}-01-{part}.png" for image in (1, 2) for part in ("attention", "sampling")]
    assert sorted(name for name in first if "merging" not in name) == sorted(["explain.json", *drawn])
    assert "merging.json" in first


def test_images_are_chosen_by_number_or_id(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out", "images: 3, image_ids: ['102', '100', '102'], segments: 1, bootstrap: 0")
    found = Explanation.read(tmp_path / "out/explain.json")
    assert found.images == 3
    titles = list(dict.fromkeys(drawing.title for drawing in found.drawings))
    assert titles == ["000102.png", "000100.png"]
    assert {drawing.file[:3] for drawing in found.drawings} == {"001", "002"}, "one that is named twice is drawn once"
    assert {curve.area.low for curve in found.curves} <= {None}


def test_images_without_segments_are_counted(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, tmp_path / "out", threshold=1)
    assert "left out: drawings: no segments were found in 2 images (000100.png, " in capsys.readouterr().out
    found = Explanation.read(tmp_path / "out/explain.json")
    assert (found.curves, found.drawings) == ((), ())
    assert found.preference is not None
    assert found.preference.points == ()


def test_an_unknown_id_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(folder, tmp_path / "out", "images: 3, image_ids: [104]")
    error = capsys.readouterr().err
    assert re.search(r"explain\.image_ids: .*val\.index has no image 104 among the 3 .*there are 100, 101, 102", error)


def test_a_full_disk_is_told_with_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(SystemExit):
        run(folder, tmp_path / "out", "images: 1, drawn: 0, bootstrap: 0")
    assert re.search(r"could not write .*explain\.json: No space left on device; free disk", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_run_leaves_the_former_results_and_nothing_else(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    run(folder, tmp_path / "out")
    before = files_of(tmp_path)

    def interrupt(_explainer: Explainer) -> Explanation:
        raise error

    monkeypatch.setattr(Explainer, "result", interrupt)
    with pytest.raises(SystemExit):
        run(folder, tmp_path / "out", "drawn: 1")
    assert files_of(tmp_path) == before


def test_a_network_of_others_cannot_be_looked_into(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder / "other"
    other.mkdir(exist_ok=True)
    (other / "config.json").write_text(json.dumps({"model_type": "mask2former"}))
    with pytest.raises(SystemExit):
        run(folder, tmp_path / "out", model="other")
    assert "whose layers cannot be recorded; give weights that stages.train wrote" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
