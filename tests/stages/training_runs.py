"""Training as a program in one process or several: commands and their results, by default for a tiny network."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from panoptic.datasets.coco import build_index
from tests.tiny_dataset import random_image, write_split

ROOT = Path(__file__).parents[2]
LISTENING = "0A"  # in /proc/net/tcp
PATIENCE = 600.0
"""Timeout in seconds; on a busy machine everything may take many times as long."""
# With dropout, whose randomness must not depend on the number of processes, and images of two sizes.
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
    """Write eight images and their index to a folder."""
    rng = np.random.default_rng(0)
    images = [random_image(rng, index, 32, 32 + 16 * (index % 2)) for index in range(8)]
    split = write_split(root, "train", images)
    build_index(split.panoptic_json, split.masks, split.images).save(root / "index")
    return root


def write_mini(root: Path, count: int) -> Path:
    """Write the index of the first `count` images of data/mini to a folder."""
    mini = ROOT / "data/mini"
    document = json.loads((mini / "annotations/panoptic_train.json").read_text())
    images = document["images"][:count]
    shown = {image["id"] for image in images}
    annotations = [annotation for annotation in document["annotations"] if annotation["image_id"] in shown]
    part = root / "panoptic_train.json"
    part.write_text(json.dumps(document | {"images": images, "annotations": annotations}))
    build_index(part, mini / "annotations/panoptic_train", mini / "train").save(root / "index")
    return root


def shipped_settings() -> dict[str, dict[str, object]]:
    """Read the settings of params.yaml for training, with micro-batches of two images: two processes divide four."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    train = document["train"] | {"images_per_forward": 2}
    return {"model": document["model"], "train": train, "predict": document["predict"]}


@dataclass(frozen=True)
class Training:
    """Training on the images in `dataset` with files in `folder`."""

    dataset: Path
    folder: Path
    params: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: PARAMS)
    val_index: str = "index"

    def command(self, cluster: Mapping[str, object] | None = None, **train: object) -> list[str]:
        """Return the command of the stage for these cluster settings, overriding settings of training."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {**self.params, "train": {**self.params["train"], **train}, "cluster": dict(cluster or {})}
        params = self.folder / "params.yaml"
        params.write_text(json.dumps(settings))
        inputs = [("--train-index", "index"), ("--val-index", self.val_index)]
        outputs = [("--state", "state"), ("--model", "model.safetensors"), ("--curves", "curves")]
        arguments = [part for option, name in inputs for part in (option, str(self.dataset / name))]
        arguments += [part for option, name in outputs for part in (option, str(self.folder / name))]
        return [sys.executable, "-m", "stages.train", "--params", str(params), *arguments]

    def start_command(self, cluster: Mapping[str, object], **train: object) -> list[str]:
        """Return the command that replaces the stage's when it starts others, without loading torch to get there."""
        _, _, *stage = self.command(cluster, **train)
        params, jobs = self.folder / "params.yaml", self.folder / "state/jobs"
        return [sys.executable, "-m", "cluster", json.dumps(cluster), str(params), str(jobs), *stage]

    def run(self, cluster: Mapping[str, object] | None = None, **train: object) -> str:
        """Train to the end and return the printed output."""
        command = self.command(cluster, **train)
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    @property
    def states(self) -> list[Path]:
        """Paths of the saved state, if there is one."""
        return list(self.folder.glob("state/*/state.pt"))

    def saved_after(self, moment: int) -> bool:
        """Tell whether a state was saved after a moment, in nanoseconds since the epoch."""
        try:
            return any(state.stat().st_mtime_ns > moment for state in self.states)
        except FileNotFoundError:  # the run has finished
            return False

    def weights(self) -> dict[str, torch.Tensor]:
        """Read the weights of the trained network."""
        return load_file(self.folder / "model.safetensors")

    def loss_curve(self) -> list[list[float]]:
        """Read the rows of step, learning rate and losses."""
        rows = (self.folder / "curves/loss.csv").read_text().splitlines()[1:]
        return [[float(value) for value in row.split(",")] for row in rows]

    def results(self) -> dict[str, bytes]:
        """Read the files that must be the same however often a run was stopped."""
        return {name: (self.folder / name).read_bytes() for name in ("model.safetensors", "curves/loss.csv")}


def until(condition: Callable[[], object], command: "subprocess.Popen[str]") -> None:
    """Wait until a running command has done something."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert command.poll() is None, command.communicate()[0]
        assert time.monotonic() < deadline, "it did not happen within ten minutes"
        time.sleep(0.05)


def trainers(folder: Path) -> list[int]:
    """Find the training processes with files in `folder`, without their launchers and loaders."""
    curves = str(folder / "curves")
    found = {pid for pid, words in commands() if words[1:4] == ["-u", "-m", "stages.train"] and curves in words}
    return sorted(pid for pid in found if parent(pid) not in found)


def parent(pid: int) -> int:
    """Return the id of the parent of a process, 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def commands() -> list[tuple[int, list[str]]]:
    """List the ids and command lines of all processes on this machine, oldest first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(entry.name), (entry / "cmdline").read_text(errors="replace").split("\0")))
        except OSError:  # it has ended
            continue
    return sorted(found)


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that ended but was not waited for has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def left(folder: Path) -> list[str]:
    """List the commands with files in `folder` that still run after ten seconds; soon, if there are none."""
    deadline = time.monotonic() + 10
    while found := [" ".join(words) for pid, words in commands() if str(folder) in " ".join(words) and lives(pid)]:
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return []


def listening(folder: Path) -> set[str]:
    """Find the addresses on which training processes with files in `folder`, and their launchers, listen."""
    sockets, curves = set(), str(folder / "curves")
    for pid in (pid for pid, words in commands() if curves in words):
        sockets |= {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    found = {row[1].split(":")[0] for row in rows if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets}
    return {_readable(address) for address in found}


def _readable(address: str) -> str:
    """Decode an address, whose every four bytes the kernel writes as a number in this machine's byte order."""
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return str(ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words)))
