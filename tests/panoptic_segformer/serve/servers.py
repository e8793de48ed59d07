"""Servers for tests: the program, one in a thread whose network waits, and the stage that they are compared with."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.serve import program
from panoptic.format.id_map import decode_id_map
from panoptic.tools import unlabeled
from panoptic_segformer.serve.limits import Limits
from stages import predict
from tests.panoptic_segformer.made_model import LENIENT


@dataclass(frozen=True)
class Program(program.Program):
    """A server as a process, and where it answers."""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=120, trust_env=False)


@contextmanager
def started(weights: Path, *options: str) -> Iterator[Program]:
    """Start a server on a free port."""
    with program.started(weights, *options, environment={"OMP_NUM_THREADS": "1"}) as running:
        yield Program(running.process, running.address)


@dataclass
class Gate:
    """Lets a network run only when it is open."""

    opened: threading.Event
    runs: int = 0


Start = Callable[[Limits], tuple[str, Gate]]


def map_of_stage(folder: Path, weights: Path, photo: bytes, **merging: float | str) -> NDArray[np.int32]:
    """Predict a photo (PNG) by `stages.predict`, with settings of merging."""
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "photo.png").write_bytes(photo)
    params = {"predict": {"shorter": 48, "longer": 96, "merging": {**asdict(LENIENT), **merging}}}
    (folder / "params.yaml").write_text(json.dumps(params))
    images = ["--images", str(folder / "photos"), "--categories", str(weights.with_suffix(".json"))]
    unlabeled.main([*images, "--out", str(folder / "photos.index")])
    options = ["--params", str(folder / "params.yaml"), "--index", str(folder / "photos.index")]
    predict.main([*options, "--model", str(weights), "--out", str(folder / "stage")])
    return decode_id_map((folder / "stage" / "panoptic" / "photo.png").read_bytes(), "")
