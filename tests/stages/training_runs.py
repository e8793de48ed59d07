"""Trainings of a tiny network as programs, one process or several: what to run, and what comes out."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from panoptic.verification import build_index
from tests.tiny_dataset import random_picture, write_split

# Dropout, because its draws must not depend on the number of processes; pictures of two sizes.
PARAMS: dict[str, dict[str, object]] = {
    "model": {
        "backbone": "tiny",
        "backbone_norm": "group",
        "frozen_stages": 0,
        "channels": 32,
        "heads": 2,
        "levels": 3,
        "points": 2,
        "encoder_layers": 1,
        "location_layers": 1,
        "thing_mask_layers": 1,
        "stuff_mask_layers": 1,
        "feedforward": 32,
        "mask_feedforward": 32,
        "queries": 6,
        "dropout": 0.1,
    },
    "train": {
        "initial_weights": "random",
        "epochs": 3,
        "batch_size": 4,
        "images_per_forward": 1,
        "learning_rate": 1e-3,
        "workers": 0,
        "log_every": 1,
        "save_every": 3,
        "validate_every": 1000,
        "ema_decay": 0.9,
        "augmentation": {"resize_shorter": [], "crop_probability": 0},
    },
    "predict": {"shorter": 32, "longer": 64},
}
TWO_PROCESSES = {"launcher": "torchrun", "processes_per_node": 2}


def write_dataset(root: Path) -> Path:
    """Eight pictures and their index in a folder."""
    rng = np.random.default_rng(0)
    pictures = [random_picture(rng, number, 32, 32 + 16 * (number % 2)) for number in range(8)]
    split = write_split(root, "train", pictures)
    build_index(split.panoptic_json, split.masks, split.images).save(root / "index")
    return root


@dataclass(frozen=True)
class Training:
    """One training on the pictures in `dataset` with its files in `folder`."""

    dataset: Path
    folder: Path

    def command(self, cluster: Mapping[str, object] | None = None, **train: object) -> list[str]:
        """The stage's command, for these settings of the cluster and changed ones of the training."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = PARAMS | {"train": PARAMS["train"] | train, "cluster": dict(cluster or {})}
        params = self.folder / "params.yaml"
        params.write_text(json.dumps(settings))
        index = str(self.dataset / "index")
        inputs = ["--params", str(params), "--train-index", index, "--val-index", index]
        outputs = [("--state", "state"), ("--model", "model.safetensors"), ("--curves", "curves")]
        places = [part for option, name in outputs for part in (option, str(self.folder / name))]
        return [sys.executable, "-m", "stages.train", *inputs, *places]

    def run(self, cluster: Mapping[str, object] | None = None, **train: object) -> str:
        """Train to the end; returns what was printed."""
        command = self.command(cluster, **train)
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    @property
    def states(self) -> list[Path]:
        """The saved state, if there is one."""
        return list(self.folder.glob("state/*/state.pt"))

    def weights(self) -> dict[str, torch.Tensor]:
        """Of the trained network."""
        return load_file(self.folder / "model.safetensors")

    def loss_curve(self) -> list[list[float]]:
        """Rows of step, learning rate and losses."""
        rows = (self.folder / "curves/loss.csv").read_text().splitlines()[1:]
        return [[float(value) for value in row.split(",")] for row in rows]

    def results(self) -> dict[str, bytes]:
        """The files that must be the same however often a run was stopped."""
        return {name: (self.folder / name).read_bytes() for name in ("model.safetensors", "curves/loss.csv")}


def until(condition: Callable[[], object], command: "subprocess.Popen[str]") -> None:
    """Wait for something that a running command does."""
    while not condition():
        assert command.poll() is None, command.communicate()[0]
        time.sleep(0.05)


def trainers(folder: Path) -> list[int]:
    """Process ids of the trainings with their files in `folder`, without what started them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if words[1:4] == [b"-u", b"-m", b"stages.train"] and str(folder / "curves").encode() in words:
            found.append(int(entry.name))
    return sorted(found)
