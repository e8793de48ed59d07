"""Servers of the weights."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

import panoptic_segformer
from panoptic_segformer.images import NamedImage
from panoptic_segformer.serve.app import make_app
from panoptic_segformer.serve.connections import Connection
from panoptic_segformer.serve.limits import Limits
from panoptic_segformer.unmerged import Unmerged
from tests.panoptic_segformer.serve.servers import Gate, Program, Start, started


@pytest.fixture(scope="module")
def program(weights: Path) -> Iterator[Program]:
    with started(weights, "--megabytes", "4", "--megapixels", "2", "--queue", "64") as running:
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
        config = uvicorn.Config(make_app(model, limits), port=0, http=Connection, ws="none", log_level="error")
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
