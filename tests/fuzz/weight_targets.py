"""Readers of weights: states of unfinished runs, descriptions of networks, and weight files of anybody."""

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch
from safetensors.torch import save
from torch import nn

from model.network.panoptic_segformer import PanopticSegFormer
from model.training.curves import Curves
from model.training.ema import WeightAverage
from model.training.state import RunState
from model.weights.description import CheckpointError, Description, load_description, save_description
from model.weights.loading.files import WeightsError, read_weights
from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError
from tests.fuzz.formats import JSON
from tests.fuzz.target import Target, refusing
from tests.fuzz.tensor_formats import PICKLE, SAFETENSORS
from tests.model.network.tiny_network import TINY
from tests.tiny_dataset import CATEGORIES


def restore_state(data: bytes, folder: Path) -> None:
    """A training state; one that is accepted is finite and belongs to a step of the run."""
    state = _state(folder)
    state.restore(data, folder / "input.pt", steps=100)
    assert isinstance(state.step, int)
    assert state.step >= 0
    for tensors in (state.network.state_dict(), *([state.average.network.state_dict()] if state.average else [])):
        assert all(tensor.isfinite().all() for tensor in tensors.values())


def describe_network(data: bytes, folder: Path) -> None:
    """The JSON file beside weights."""
    (folder / "input.json").write_bytes(data)
    load_description(folder / "input.safetensors")


def read_anybodys_weights(data: bytes, folder: Path) -> None:
    """A safetensors file or a pickle, for its weights and for their average."""
    path = folder / "input.pth"
    path.write_bytes(data)
    with refusing(WeightsError):
        read_weights(path, average=True)
    file = read_weights(path)
    assert all(isinstance(tensor, torch.Tensor) for tensor in file.state.values())


def _network() -> PanopticSegFormer:
    torch.manual_seed(0)
    # Any module will do: a state knows nothing of the network.
    return cast(PanopticSegFormer, nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))


def _state(folder: Path) -> RunState:
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    return RunState(network, (optimizer,), WeightAverage(network, 0.9), Curves(folder / "curves"))


def _states() -> Mapping[str, bytes]:
    with TemporaryDirectory() as made:
        folder = Path(made)
        state = _state(folder)
        for parameter in state.network.parameters():
            parameter.grad = torch.ones_like(parameter)  # not by backward, whose threads do not survive in a child
        state.optimizers[0].step()
        state.step, state.recent = 7, [torch.ones(2)]
        state.curves.add("loss", 7, {"total": 1.5})
        state.save(folder / "state.pt")
        written = (folder / "state.pt").read_bytes()
    # Its digest refuses every change; without one, changes get past it.
    seal = written.rindex(b"PK\5\6") + 20
    return {"after a step": written, "without a digest": written[:seal] + b"\0\0"}


def _descriptions() -> Mapping[str, bytes]:
    with TemporaryDirectory() as made:
        path = Path(made, "model.safetensors")
        save_description(path, Description(TINY, CategoryTable.from_json(CATEGORIES), {"commit": "0" * 40}))
        written = path.with_suffix(".json").read_bytes()
    earlier = json.loads(written) | {"format": "panoptic-segformer/1"}
    del earlier["sha256"]  # so that not every change is refused by it
    return {"present format": written, "earlier format": json.dumps(earlier).encode()}


def _safetensors() -> Mapping[str, bytes]:
    types = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool)
    state = {f"module.{number}": torch.ones(2, 3).to(dtype) for number, dtype in enumerate(types)}
    return {"several types": save(state), "with metadata": save({"a.weight": torch.ones(2)}, {"format": "pt"})}


def _pickles() -> Mapping[str, bytes]:
    state = OrderedDict((f"module.{name}", tensor) for name, tensor in _network().state_dict().items())
    contents: dict[str, object] = {
        "state dict": state,
        "published": {"meta": {"epoch": 3, "CLASSES": ["a"]}, "state_dict": state, "optimizer": {"step": 1}},
        "with average": {"model": dict(state), "ema": {"module": dict(state), "decay": 0.9}},
    }
    return {name: _pickled(content) for name, content in contents.items()} | {"old": _pickled(state, in_zip=False)}


def _pickled(content: object, in_zip: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=in_zip)
    return file.getvalue()


TARGETS = (
    Target("state", restore_state, _states, (ValueError,), PICKLE),
    Target("description", describe_network, _descriptions, (CheckpointError, DatasetError), JSON),
    Target("safetensors", read_anybodys_weights, _safetensors, (WeightsError,), SAFETENSORS),
    Target("pth", read_anybodys_weights, _pickles, (WeightsError,), PICKLE),
)
