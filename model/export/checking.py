"""Exported files beside the network that they were made of: equal numbers, equal panoptic maps, and time."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.export.inference_network import BOXES, INPUT, QUERY_OUTPUTS, InferenceNetwork, as_network_output
from model.export.matching import MatchedQueries
from model.export.sizes import ExportError
from model.merging import MergingSettings, PictureSizes, predict_panoptic
from model.pixels import normalise

Run = Callable[[Tensor], tuple[Tensor, ...]]
BOUND = 1e-3
"""Largest difference of an output, in units of its largest value, or of 1 where that is smaller."""
EQUAL_PIXELS = 0.999
"""At least this share of the pixels has the same segment after merging."""
ROUNDS = 3
PER_QUERY = frozenset(output.name for output in (*QUERY_OUTPUTS, BOXES))


@dataclass(frozen=True)
class Picture:
    """A picture (H, W, 3) uint8 RGB at the size of the network's input, and what to call it."""

    name: str
    pixels: npt.NDArray[np.uint8]

    def tensor(self) -> Tensor:
        """(1, 3, H, W) normalised."""
        return normalise(torch.from_numpy(self.pixels)[None])


@dataclass(frozen=True)
class Comparison:
    """How far one picture's outputs are from eager."""

    picture: Picture
    queries: MatchedQueries
    differences: dict[str, float]  # largest, by output, in units of `BOUND`'s; of queries, those that match
    equal_pixels: float  # share of the map

    def line(self) -> str:
        """For people."""
        height, width = self.picture.pixels.shape[:2]
        parts = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return (
            f"{self.picture.name} ({height} x {width}): {100 * self.equal_pixels:.2f} % equal pixels, "
            f"{len(self.queries.ours)} queries the same, {self.queries.missing} missing; {parts}"
        )

    def require(self, what: str) -> None:
        """Raise `ExportError` beyond the bounds."""
        wrong = [name for name, value in self.differences.items() if not value <= BOUND]
        if self.queries.missing:
            wrong.append("queries")
        if self.equal_pixels < EQUAL_PIXELS:
            wrong.append("pixels")
        if wrong:
            raise ExportError(
                f"{what} differs from the network, bounds {BOUND} and {100 * EQUAL_PIXELS} % (too far: "
                f"{', '.join(wrong)}): {self.line()}; it was not written, please report it"
            )


def run_torch(path: Path) -> Run:
    """The saved `torch.export` file."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda images: cast("tuple[Tensor, ...]", tuple(module(images)))


def run_onnx(path: Path) -> Run:
    """The saved ONNX file in ONNX Runtime on the CPU, with as many threads as torch has."""
    onnxruntime = import_module("onnxruntime")  # only here, so that the other format does without it
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns of every constant that it does not fold
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: tuple(torch.from_numpy(found) for found in session.run(None, {INPUT: images.numpy()}))


@torch.no_grad()
def compare(network: InferenceNetwork, run: Run, picture: Picture, settings: MergingSettings) -> Comparison:
    """One picture through both. Raises `ExportError` where `run` fails or gives outputs of other shapes."""
    images = picture.tensor()
    try:
        exported = run(images)
    except Exception as error:  # ONNX Runtime's have nothing else in common
        raise ExportError(f"the file does not run on {picture.name}, so it was not written: {error}") from error
    names = [output.name for output in network.outputs]
    ours, theirs = (dict(zip(names, outputs, strict=True)) for outputs in (network(images), exported))
    for name in names:
        if ours[name].shape != theirs[name].shape:
            raise ExportError(f"{name} is {tuple(theirs[name].shape)}; the network gives {tuple(ours[name].shape)}")
    maps = [_merged(network, outputs, picture, settings) for outputs in (ours, theirs)]
    queries = MatchedQueries.of(ours, theirs)
    differences = {}
    for name in names[1:]:  # without the labels, which are equal
        expected, found = ours[name], theirs[name]
        if name in PER_QUERY:
            expected, found = expected[:, queries.ours], found[:, queries.theirs]
        differences[name] = _difference(expected, found)
    return Comparison(picture, queries, differences, float(np.mean(maps[0] == maps[1])))


@torch.no_grad()
def time_ratio(network: InferenceNetwork, run: Run, pictures: Sequence[Picture]) -> tuple[float, float, float]:
    """Eager's time over that of `run`, in rounds that alternate the two: median, least, largest."""
    programs: tuple[Run, Run] = (network, run)
    ratios = []
    for _ in range(ROUNDS):
        seconds = [0.0, 0.0]
        for images in (picture.tensor() for picture in pictures):
            for which, forward in enumerate(programs):
                started = time.perf_counter()
                forward(images)
                seconds[which] += time.perf_counter() - started
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios), min(ratios), max(ratios)


def _difference(expected: Tensor, found: Tensor) -> float:
    if not expected.numel():
        return 0.0
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=1))


def _merged(
    network: InferenceNetwork, outputs: dict[str, Tensor], picture: Picture, settings: MergingSettings
) -> npt.NDArray[np.int32]:
    size = picture.pixels.shape[0], picture.pixels.shape[1]
    sizes = [PictureSizes(size, size, size)]
    (prediction,) = predict_panoptic(as_network_output(network.network, outputs), sizes, settings)
    return prediction.ids
