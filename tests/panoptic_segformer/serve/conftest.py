"""Weights to serve, and servers of them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import uvicorn

import panoptic_segformer
from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.format.categories import CategoryTable
from panoptic_segformer.model import NamedImage
from panoptic_segformer.serve.app import make_app
from panoptic_segformer.serve.connections import Connection
from panoptic_segformer.serve.limits import Limits
from panoptic_segformer.unmerged import Unmerged
from tests.model.training.synthetic import NETWORK
from tests.panoptic_segformer.serve.servers import Gate, Program, Start, started
from tests.tiny_dataset import CATEGORIES

LENIENT = MergingSettings(score_threshold=0, mask_threshold=0, overlap_things=1, overlap_stuff=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    categories = CategoryTable.from_json(CATEGORIES)
    torch.manual_seed(0)
    network = PanopticSegFormer(NETWORK, len(categories.things), len(categories.stuff))
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    settings = InferenceSettings(48, 96, merging=LENIENT)
    save_checkpoint(path, Checkpoint(NETWORK, categories, {}, network, inference=settings))
    return path


@pytest.fixture(scope="module")
def program(weights: Path) -> Iterator[Program]:
    with started(weights, "--megabytes", "4", "--megapixels", "2") as running:
        yield running


@pytest.fixture(scope="module")
def model(weights: Path) -> panoptic_segformer.Model:
    return panoptic_segformer.load(weights, device="cpu")


@pytest.fixture
def start(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start servers in threads, whose networks wait at a gate."""
    running: list[tuple[uvicorn.Server, threading.Thread, Gate]] = []

    def start_one(limits: Limits) -> tuple[str, Gate]:
        model, gate = panoptic_segformer.load(weights, device="cpu"), Gate(threading.Event())
        find = model.find

        def find_behind(image: NamedImage) -> Unmerged:
            gate.runs += 1
            assert gate.opened.wait(60)
            return find(image)

        monkeypatch.setattr(model, "find", find_behind)
        config = uvicorn.Config(make_app(model, "", limits), port=0, http=Connection, ws="none", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread, gate))
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}", gate

    yield start_one
    for server, thread, gate in running:
        gate.opened.set()
        server.force_exit = server.should_exit = True
        thread.join(30)
