"""The whole network on a GPU: images a second from pixels to panoptic maps, its profile, and training steps."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness.timer import Clock
from benchmarks.plan.dataset import made_categories, made_sample
from model.inference.predict import InferenceSettings, predict_images
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.batch import PackedBatch, collate
from model.training.curves import Curves
from model.training.distributed.processes import Processes
from model.training.loop import Run, optimize
from model.training.optimizer import build_optimizers
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.index import ImageRecord, PanopticIndex

THINGS, STUFF = 80, 53  # classes of COCO
PROFILED_ROWS = 25


@dataclass(frozen=True)
class Speed:
    """Images a second of every round, and bytes of memory at the peak."""

    precision: str
    compiled: bool
    batch: int
    images_per_second: tuple[float, ...]
    peak_bytes: int


@dataclass(frozen=True)
class Workload:
    """What is measured: a network of random weights on made images of one size (height, width)."""

    config: NetworkConfig
    size: tuple[int, int]
    images: int
    rounds: int
    device: torch.device

    def network(self) -> PanopticSegFormer:
        """A new one."""
        torch.manual_seed(0)
        return PanopticSegFormer(self.config, THINGS, STUFF).to(self.device)


def inference(work: Workload, precision: str, compiled: bool) -> Speed:
    """Images in memory to panoptic maps in memory, one at a time: resized, normalized, segmented and merged."""
    network = work.network().eval()
    if compiled:
        network.compile()
    clock = _clock(work)
    speeds = []
    for number in range(work.rounds + 1):
        started = time.perf_counter()
        count = _predict(network, work, precision)
        if number:  # the first round compiles and tunes
            speeds.append(count / (time.perf_counter() - started))
    return Speed(precision, compiled, 1, tuple(speeds), clock.peak_bytes)


def profile_table(work: Workload, precision: str) -> str:
    """Where the time of inference goes, by operator."""
    network = work.network().eval()
    _predict(network, work, precision)
    cuda = work.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiled:
        _predict(network, work, precision)
    table: str = profiled.key_averages().table(
        sort_by="self_cuda_time_total" if cuda else "self_cpu_time_total",
        row_limit=PROFILED_ROWS,
        max_name_column_width=60,
    )
    return table


def training(work: Workload, precision: str, batch: int) -> Speed:
    """Whole optimizer steps on a batch that lies on the device already."""
    settings = TrainSettings(batch_size=batch, images_per_forward=batch, precision=precision)
    network = work.network()
    run = Run(
        network=network,
        index=PanopticIndex(made_categories(THINGS, STUFF), Path(), Path(), ()),
        settings=settings,
        state_file=Path(),
        curves=Path(),
        processes=Processes(),
        validate=_never,
    )
    state = RunState(network, build_optimizers(network, settings), None, Curves(Path()))
    images = _batch(work, batch).to(work.device)
    clock = _clock(work)
    speeds = tuple(batch / clock.median(lambda: optimize(run, state, [images])) for _ in range(work.rounds))
    return Speed(precision, False, batch, speeds, clock.peak_bytes)


def _clock(work: Workload) -> Clock:
    if work.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(work.device)
    return Clock.start(work.device, work.images)


def _predict(network: PanopticSegFormer, work: Workload, precision: str) -> int:
    height, width = work.size
    records = tuple(ImageRecord(number, "", "", height, width, ()) for number in range(work.images))
    settings = InferenceSettings(shorter=min(work.size), longer=max(work.size), precision=precision)
    with tempfile.TemporaryDirectory() as nothing:
        index = PanopticIndex(made_categories(THINGS, STUFF), Path(nothing), Path(nothing), records)
        return sum(1 for _ in predict_images(network, index, settings, read=_read))


def _read(records: Sequence[ImageRecord]) -> Iterator[npt.NDArray[np.uint8]]:
    for record in records:
        yield np.random.default_rng(record.image_id).integers(0, 256, (record.height, record.width, 3), np.uint8)


def _batch(work: Workload, count: int) -> PackedBatch:
    categories = made_categories(THINGS, STUFF)
    samples = [
        made_sample(np.random.default_rng(number), work.size, things=7, stuff=4, categories=categories)
        for number in range(count)
    ]
    return collate(samples, categories, work.config.stuff)


def _never(_network: PanopticSegFormer) -> NoReturn:
    raise AssertionError("nothing is validated here")
