"""The train stage starts from own weights, or from an unfinished run, although classes and settings have changed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model.training.distributed.stopping import STOPPED
from panoptic.datasets.coco import build_index
from stages import train
from tests.tiny_dataset import CATEGORIES, random_image, write_split

PARAMS = """
model: {backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 2, levels: 3, points: 2,
  encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32,
  mask_feedforward: 32, queries: 6, stuff: STUFF}
train: {initial_weights: WEIGHTS, epochs: 2, batch_size: 2, images_per_forward: 2, learning_rate: RATE, workers: 0,
  log_every: 1, save_every: 1, validate_every: 100, ema_decay: AVERAGE,
  augmentation: {resize_shorter: [], crop_probability: 0}}
predict: {shorter: 32, longer: 64}
"""
DEFAULTS = {"weights": "random", "rate": "1e-9", "average": "0.0", "stuff": "decoupled"}
HEAD = "location_decoder.class_heads.0.weight"
RING = {"id": 5, "name": "ring", "isthing": 1}


def write_index(root: Path, categories: list[dict[str, object]]) -> Path:
    """The index of the same images whatever the categories, which may have more than the images show."""
    rng = np.random.default_rng(0)
    split = write_split(root, "train", [random_image(rng, index, 64, 64) for index in range(2)])
    document = json.loads(split.panoptic_json.read_text())
    split.panoptic_json.write_text(json.dumps(document | {"categories": categories}))
    build_index(split.panoptic_json, split.masks, split.images).save(root / "index")
    return root / "index"


def run(folder: Path, index: Path, **settings: str) -> Path:
    """Train; by the smallest of rates unless said otherwise, so that what was taken over is still there."""
    folder.mkdir(exist_ok=True)
    text = PARAMS
    for name, value in (DEFAULTS | settings).items():
        text = text.replace(name.upper(), value)
    (folder / "params.yaml").write_text(text)
    inputs = ["--params", folder / "params.yaml", "--train-index", index, "--val-index", index]
    outputs = ["--state", folder / "state", "--model", folder / "model.safetensors", "--curves", folder / "curves"]
    train.main([str(argument) for argument in (*inputs, *outputs)])
    return folder / "model.safetensors"


@contextmanager
def stop_at_once() -> Iterator[Callable[[], bool]]:
    """Requests to stop, from the first step on."""
    yield lambda: True


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("two"), CATEGORIES)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class more, whose label comes between the others, and one renamed."""
    renamed = [{**entry, "name": "balls"} if entry["name"] == "ball" else entry for entry in CATEGORIES]
    return write_index(tmp_path_factory.mktemp("three"), [*renamed, RING])


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, atol=1e-6)


def test_own_weights_start_a_run_with_other_classes(
    two: Path, three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = run(tmp_path / "own", two, rate="1e-3")
    capsys.readouterr()
    again = run(tmp_path / "again", three, weights=str(own))
    old, new = load_file(own)[HEAD], load_file(again)[HEAD]
    assert close(new[[0, 2]], old)
    lines = [
        f"initial weights: the network from {own}",
        "  classes kept: 3 (star, sky, water)",
        "  classes kept by their id under a new name: 1 (ball -> balls)",
        "  new classes, with initial values: 1 (ring)",
    ]
    assert "\n".join(lines) in capsys.readouterr().out
    provenance = json.loads(again.with_suffix(".json").read_text())["provenance"]
    assert f"initial weights: {provenance['initial_weights']}".splitlines() == lines


def test_things_alone_start_from_weights_with_stuff(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = run(tmp_path / "own", two)
    things = write_index(tmp_path / "things", [{**entry, "isthing": 1} for entry in CATEGORIES])
    again = run(tmp_path / "again", things, weights=str(own), stuff="none")
    assert close(load_file(again)[HEAD][:2], load_file(own)[HEAD])
    assert not [name for name in load_file(again) if name.startswith("stuff_masks.")]
    assert "dropped, as the network has no such part: stuff_masks (" in capsys.readouterr().out


def test_stuff_alone_starts_a_joint_network_from_weights_with_things(
    two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = run(tmp_path / "own", two)
    stuff = write_index(tmp_path / "stuff", [{**entry, "isthing": 0} for entry in CATEGORIES])
    again = run(tmp_path / "again", stuff, weights=str(own), stuff="joint")
    assert load_file(again)[HEAD].shape[0] == len(CATEGORIES)
    name = "encoder.layers.0.attention.value_proj.weight"
    assert close(load_file(again)[name], load_file(own)[name])
    assert "classes kept: 2 (sky, water)" in capsys.readouterr().out


@pytest.fixture
def unfinished(two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a run that was stopped."""
    with monkeypatch.context() as patched:
        patched.setattr(train, "stop_requests", stop_at_once)
        with pytest.raises(SystemExit) as stopped:
            run(tmp_path / "own", two, rate="1e-2", average="0.9")
    assert stopped.value.code == STOPPED
    (state,) = (tmp_path / "own").glob("state/*/state.pt")
    return state


@pytest.mark.parametrize("mark", ["", "#ema"])
def test_an_unfinished_run_starts_another_one(
    mark: str, unfinished: Path, three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = torch.load(unfinished, weights_only=True)
    again = run(tmp_path / "again", three, weights=f"{unfinished}{mark}")
    source, other = (saved[key][HEAD] for key in (("average", "network") if mark else ("network", "average")))
    assert close(load_file(again)[HEAD][[0, 2]], source)
    assert not close(load_file(again)[HEAD][[0, 2]], other)
    assert ("taken: the moving average (EMA) in 'average'" in capsys.readouterr().out) is bool(mark)
