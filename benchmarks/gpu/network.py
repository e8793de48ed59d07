"""The whole network on a GPU: images per second from pixels to panoptic maps, a profile, and training steps."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bounds import Bound, network_bound
from benchmarks.harness.device import PeakMemory, timer_for
from benchmarks.harness.interleave import interleave
from benchmarks.harness.synthetic import made_categories
from benchmarks.harness.trainer import made_batch, make_trainer
from model.inference.predict import predict_images
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.published.models import COCO_STUFF, COCO_THINGS
from model.training.loop import optimize
from model.training.settings import TrainSettings
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.working_folder import working_folder

PROFILED_ROWS = 25


@dataclass(frozen=True)
class Throughput:
    """Images per second in every round, bytes of memory at the peak, and what bounds the network."""

    precision: str
    compiled: bool
    batch: int
    images_per_second: tuple[float, ...]
    peak_bytes: int
    bound: Bound

    @property
    def milliseconds(self) -> float:
        """Median time of a batch."""
        return 1000 * self.batch / statistics.median(self.images_per_second)


@dataclass(frozen=True)
class NetworkWorkload:
    """A network of random weights on made images of one size (height, width)."""

    config: NetworkConfig
    size: tuple[int, int]
    images: int
    rounds: int
    device: torch.device

    def network(self) -> PanopticSegFormer:
        """Make a seeded network."""
        torch.manual_seed(0)
        return PanopticSegFormer(self.config, COCO_THINGS, COCO_STUFF).to(self.device)


def inference(work: NetworkWorkload, precision: str, compiled: bool) -> Throughput:
    """Predict images in memory one at a time: resized, normalized, segmented and merged."""
    network = work.network().eval()
    memory, timer = PeakMemory.start(work.device), timer_for(work.device)
    runs = {"predict": lambda: timer.seconds(lambda: _predict(network, work, precision, compiled))}
    seconds = interleave(runs, work.rounds, "inference")["predict"]
    bound = network_bound(work.config, work.size, 1, precision, train=False)
    return Throughput(precision, compiled, 1, tuple(work.images / taken for taken in seconds), memory.bytes, bound)


def profile_table(work: NetworkWorkload, precision: str) -> str:
    """Show the time of inference by operator."""
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


def training(work: NetworkWorkload, precision: str, batch: int) -> Throughput:
    """Run whole optimizer steps on a batch that is already on the device."""
    settings = TrainSettings(batch_size=batch, images_per_forward=batch, precision=precision)
    index = PanopticIndex(made_categories(COCO_THINGS, COCO_STUFF), Path(), Path(), ())
    run, state = make_trainer(work.network(), index, settings)
    images = made_batch(work.size, 7, 4, work.config.stuff_queries, batch).to(work.device)
    memory, timer = PeakMemory.start(work.device), timer_for(work.device)
    seconds = [timer.median(lambda: optimize(run, state, [images]), work.images) for _ in range(work.rounds)]
    bound = network_bound(work.config, work.size, batch, precision, train=True)
    return Throughput(precision, False, batch, tuple(batch / taken for taken in seconds), memory.bytes, bound)


def _predict(network: PanopticSegFormer, work: NetworkWorkload, precision: str, compiled: bool = False) -> None:
    height, width = work.size
    records = tuple(ImageRecord(number, "", "", height, width, ()) for number in range(work.images))
    settings = InferenceSettings(min(work.size), max(work.size), precision=precision, compile=compiled)
    with working_folder() as nothing:
        index = PanopticIndex(made_categories(COCO_THINGS, COCO_STUFF), Path(nothing), Path(nothing), records)
        assert sum(1 for _ in predict_images(Predictor(network, settings), index, read=_read)) == work.images


def _read(records: Sequence[ImageRecord]) -> Iterator[npt.NDArray[np.uint8]]:
    for record in records:
        yield np.random.default_rng(int(record.image_id)).integers(0, 256, (record.height, record.width, 3), np.uint8)
