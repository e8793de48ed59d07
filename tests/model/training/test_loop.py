"""Training runs on a tiny dataset are repeatable, resumable, divisible over processes, and stop if they diverge."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.segmenter import Segmenter
from model.training import loop
from model.training.batch import Batch
from model.training.criterion import LossWeights
from model.training.distributed.ownership import Ownership, StateTakenError
from model.training.distributed.processes import Processes, joined_processes
from model.training.distributed.stopping import StoppedError
from model.training.loop import NonFiniteLossError, TrainingRun, train
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.data.transforms import AugmentationSettings
from panoptic.datasets.coco import build_index
from panoptic.index import PanopticIndex
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import random_image, write_split

SETTINGS = TrainSettings(
    epochs=3,
    batch_size=4,
    images_per_forward=2,
    learning_rate=1e-3,
    ema_decay=0.9,
    workers=0,
    log_every=3,
    save_every=2,
    validate_every=3,
    augmentation=AugmentationSettings(resize_shorter=[48, 64], crop_probability=0.0),
)
ALONE = Processes()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PanopticIndex:
    rng = np.random.default_rng(0)
    images = [random_image(rng, index, 32, 32 + 16 * (index % 2)) for index in range(8)]
    split = write_split(tmp_path_factory.mktemp("tiny"), "train", images)
    return build_index(split.panoptic_json, split.masks, split.images)


@dataclass(frozen=True)
class Recipe:
    """Settings of a run and of its network."""

    settings: TrainSettings = SETTINGS
    network: NetworkConfig = NETWORK


PUBLISHED = Recipe()
HELPED = Recipe(
    replace(SETTINGS, optimizer="muon", losses=LossWeights(token_class=1.0)),
    replace(NETWORK, query_initialization="encoder", token_classes=True),
)
RECIPES = {"published": PUBLISHED, "helped": HELPED}


def make_run(
    index: PanopticIndex, folder: Path, recipe: Recipe = PUBLISHED, processes: Processes = ALONE
) -> TrainingRun:
    torch.manual_seed(0)
    network = PanopticSegFormer(recipe.network, len(index.categories.things), len(index.categories.stuff))
    return TrainingRun(
        network=network,
        index=index,
        settings=recipe.settings,
        state_file=folder / "state" / "state.pt",
        curves=folder / "curves",
        processes=processes,
        validate=lambda network: {"all": float(next(network.parameters()).sum())},
    )


def assert_equal_weights(first: nn.Module, second: nn.Module, tolerance: float = 0.0) -> None:
    for (name, ours), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, msg=f"{name} differs")


def curves(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted((folder / "curves").iterdir())}


def test_same_seed_same_weights_and_curves(index: PanopticIndex, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert_equal_weights(train(make_run(index, first)), train(make_run(index, second)))
    assert curves(first) == curves(second)
    steps = [line.split(",")[0] for line in curves(first)["loss.csv"].splitlines()]
    assert steps == ["step", "2", "3", "4", "6"]
    assert [line.split(",")[0] for line in curves(first)["quality.csv"].splitlines()] == ["step", "3", "6"]


@pytest.mark.parametrize(
    ("stop_after", "recipe"), [(1, PUBLISHED), (2, HELPED), (3, PUBLISHED), (5, HELPED)], ids=["1", "2", "3", "5"]
)
def test_a_stopped_run_ends_with_the_same_weights(
    index: PanopticIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int, recipe: Recipe
) -> None:
    expected = train(make_run(index, tmp_path / "undisturbed", recipe))
    optimize = loop.optimize

    def stopping(run: TrainingRun, state: RunState, batches: list[Batch]) -> dict[str, Tensor]:
        if state.step == stop_after:
            raise KeyboardInterrupt
        return optimize(run, state, batches)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "optimize", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(make_run(index, tmp_path / "stopped", recipe))
    assert_equal_weights(train(make_run(index, tmp_path / "stopped", recipe)), expected)
    assert curves(tmp_path / "stopped") == curves(tmp_path / "undisturbed")


@pytest.mark.parametrize("stop_after", [1, 4])  # in the middle of a row of the loss curve, and at its end
def test_a_run_that_is_asked_to_stop_saves_and_resumes_with_the_same_result(
    index: PanopticIndex, tmp_path: Path, stop_after: int
) -> None:
    expected = train(make_run(index, tmp_path / "undisturbed"))
    asked = iter(range(1, 100))
    run = replace(make_run(index, tmp_path / "stopped"), stop_requested=lambda: next(asked) == stop_after)
    with pytest.raises(StoppedError, match=f"stopped after step {stop_after} of 6"):
        train(run)
    assert_equal_weights(train(make_run(index, tmp_path / "stopped")), expected)
    assert curves(tmp_path / "stopped") == curves(tmp_path / "undisturbed")


def test_a_state_that_another_trainer_has_taken_over_is_not_written(index: PanopticIndex, tmp_path: Path) -> None:
    run = make_run(index, tmp_path)

    def taken_over(network: Segmenter) -> dict[str, float]:
        Ownership(run.state_file.parent).claim()
        return {"all": 0.0}

    with pytest.raises(StateTakenError, match="has taken over this run"):
        train(replace(run, validate=taken_over))
    assert torch.load(run.state_file, weights_only=True)["step"] == 2, "saved before, not after"


def test_muon_on_shards_of_matrices_is_rejected(index: PanopticIndex, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'muon', which needs full matrices, but cluster\.sharding is 'full'"):
        replace(make_run(index, tmp_path, HELPED, Processes(0, 2)), sharding="full")


def test_a_diverging_run_stops_and_names_step_images_and_term(index: PanopticIndex, tmp_path: Path) -> None:
    run = make_run(index, tmp_path, Recipe(replace(SETTINGS, learning_rate=1e6)))
    with pytest.raises(NonFiniteLossError, match=r"step 2: location0_class, .* images \d+, \d+; lower"):
        train(run)


def test_a_loss_on_outputs_that_the_network_lacks_is_rejected(index: PanopticIndex, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"token_class is 1\.0, but model\.token_classes is false"):
        make_run(index, tmp_path, Recipe(HELPED.settings))


def test_a_gradient_that_is_not_finite_is_never_applied(
    index: PanopticIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(index, tmp_path)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    monkeypatch.setattr(loop, "_gradients", spoiled_gradients)
    with pytest.raises(NonFiniteLossError, match="step 1: gradient is not finite for the images"):
        train(run)
    assert all(torch.equal(value, before[name]) for name, value in run.network.state_dict().items())
    assert not run.state_file.exists()


def spoiled_gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    gradients[0][0] = float("inf")
    return gradients


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_train_like_one(index: PanopticIndex, tmp_path: Path, recipe: str) -> None:
    """Two real processes connected by gloo run the same micro-batches, so only the order of sums differs."""
    alone = train(make_run(index, tmp_path / "alone", RECIPES[recipe]))
    index.save(tmp_path / "index.json")
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "WORLD_SIZE": "2"}
    environment["MASTER_PORT"] = str(free_port())
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.model.training.test_loop", str(tmp_path), recipe],
            env=environment | {"RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    together = make_run(index, tmp_path, RECIPES[recipe]).network
    together.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert_equal_weights(together, alone, tolerance=1e-4)
    assert last_row(tmp_path) == pytest.approx(last_row(tmp_path / "alone"), rel=1e-3)


def last_row(folder: Path) -> list[float]:
    return [float(value) for value in curves(folder)["loss.csv"].splitlines()[-1].split(",")]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def train_as_one_of_several(folder: Path, recipe: Recipe) -> None:
    """Run one process of the test above."""
    with joined_processes() as processes:
        network = train(make_run(PanopticIndex.load(folder / "index.json"), folder, recipe, processes))
        if processes.is_main:
            torch.save(network.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    train_as_one_of_several(Path(sys.argv[1]), RECIPES[sys.argv[2]])
