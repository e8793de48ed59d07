"""Exported files beside the network that they were made of: equal numbers, equal panoptic maps, and time."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from model.export.inference_network import BOXES, INPUT, QUERY_OUTPUTS, InferenceNetwork, as_network_output
from model.export.sizes import ExportError, Sizes
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.pixels import normalize
from panoptic.data.reader import PanopticReader
from panoptic.data.transforms import resize_for_inference, resize_image
from panoptic.index import PanopticIndex

TIE = 1e-4
"""Probabilities that differ by no more may change places, or replace each other at the end of the list."""


@dataclass(frozen=True)
class MatchedQueries:
    """One image's queries in two programs."""

    ours: Tensor  # (M,) positions of the same ones, M of N
    theirs: Tensor  # (M,)
    missing: int  # of ours and theirs together, those that the other program has not, but should have

    @classmethod
    def of(cls, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> "MatchedQueries":
        """Queries are the same if their class is and their probabilities are tied; of all such, the closest masks are.

        Args:
            ours: outputs of one image by name: `labels` and `probabilities` (1, N), `masks` (1, N, h, w).
            theirs: of the other program, of the same shapes.
        """
        labels, our_scores, masks = (ours[name][0] for name in ("labels", "probabilities", "masks"))
        their_labels, their_scores, their_masks = (theirs[name][0] for name in ("labels", "probabilities", "masks"))
        distance = torch.cdist(masks.flatten(1), their_masks.flatten(1), p=float("inf"))
        tied = (our_scores[:, None] - their_scores).abs() <= TIE
        allowed = ((labels[:, None] == their_labels) & tied & distance.isfinite()).numpy()
        rows, columns = linear_sum_assignment(np.where(allowed, distance.numpy(), np.finfo(np.float32).max))
        same = allowed[rows, columns]
        left, right = torch.from_numpy(rows[same]), torch.from_numpy(columns[same])
        return cls(left, right, _missing(our_scores, left) + _missing(their_scores, right))


def _missing(probabilities: Tensor, matched: Tensor) -> int:
    """How many are not matched, and more probable than what another program may have replaced them with."""
    alone = torch.ones_like(probabilities, dtype=torch.bool).index_fill(0, matched, False)
    return int((probabilities[alone] > probabilities.min() + TIE).sum())


Run = Callable[[Tensor], tuple[Tensor, ...]]
BOUND = 1e-3
"""Largest difference of an output, in units of its largest value, or of 1 where that is smaller."""
EQUAL_PIXELS = 0.999
"""At least this share of the pixels has the same segment after merging."""
ROUNDS = 3
PER_QUERY = frozenset(output.name for output in (*QUERY_OUTPUTS, BOXES))


@dataclass(frozen=True)
class Image:
    """An image (H, W, 3) uint8 RGB at the size of the network's input, and what to call it."""

    name: str
    pixels: npt.NDArray[np.uint8]

    def tensor(self) -> Tensor:
        """(1, 3, H, W) normalized."""
        return normalize(torch.from_numpy(self.pixels)[None])


@dataclass(frozen=True)
class Comparison:
    """How far one image's outputs are from eager."""

    image: Image
    queries: MatchedQueries
    differences: dict[str, float]  # largest, by output, in units of `BOUND`'s; of queries, those that match
    equal_pixels: float  # share of the map

    def line(self) -> str:
        """For people."""
        height, width = self.image.pixels.shape[:2]
        parts = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return (
            f"{self.image.name} ({height} x {width}): {100 * self.equal_pixels:.2f} % equal pixels, "
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
def compare(network: InferenceNetwork, run: Run, image: Image, settings: MergingSettings) -> Comparison:
    """One image through both. Raises `ExportError` where `run` fails or gives outputs of other shapes."""
    images = image.tensor()
    try:
        exported = run(images)
    except Exception as error:  # ONNX Runtime's have nothing else in common
        raise ExportError(f"the file does not run on {image.name}, so it was not written: {error}") from error
    names = [output.name for output in network.outputs]
    ours, theirs = (dict(zip(names, outputs, strict=True)) for outputs in (network(images), exported))
    for name in names:
        if ours[name].shape != theirs[name].shape:
            raise ExportError(f"{name} is {tuple(theirs[name].shape)}; the network gives {tuple(ours[name].shape)}")
    maps = [_merged(network, outputs, image, settings) for outputs in (ours, theirs)]
    queries = MatchedQueries.of(ours, theirs)
    differences = {}
    for name in names[1:]:  # without the labels, which are equal
        expected, found = ours[name], theirs[name]
        if name in PER_QUERY:
            expected, found = expected[:, queries.ours], found[:, queries.theirs]
        differences[name] = _difference(expected, found)
    return Comparison(image, queries, differences, float(np.mean(maps[0] == maps[1])))


@torch.no_grad()
def time_ratio(network: InferenceNetwork, run: Run, images: Sequence[Image]) -> tuple[float, float, float]:
    """Eager's time over that of `run`, in rounds that alternate the two: median, least, largest."""
    programs: tuple[Run, Run] = (network, run)
    ratios = []
    for _ in range(ROUNDS):
        seconds = [0.0, 0.0]
        for tensor in (image.tensor() for image in images):
            for which, forward in enumerate(programs):
                started = time.perf_counter()
                forward(tensor)
                seconds[which] += time.perf_counter() - started
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios), min(ratios), max(ratios)


def _difference(expected: Tensor, found: Tensor) -> float:
    if not expected.numel():
        return 0.0
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=1))


def _merged(
    network: InferenceNetwork, outputs: dict[str, Tensor], image: Image, settings: MergingSettings
) -> npt.NDArray[np.int32]:
    size = image.pixels.shape[0], image.pixels.shape[1]
    sizes = [ImageSizes(size, size, size)]
    (prediction,) = predict_panoptic(as_network_output(network.network, outputs), sizes, settings)
    return prediction.ids


COUNT = 3
NOISE = ((96, 128), (128, 96), (128, 160))
"""(height, width) of what stands in for images where none are given."""


def from_files(paths: Sequence[Path]) -> list[Image]:
    """The images as they lie there."""
    return [Image(str(path), _read(path)) for path in paths]


def from_index(path: Path) -> list[Image]:
    """The first images of an index."""
    index = PanopticIndex.load(path)
    reader = PanopticReader(index)
    return [Image(record.file_name, reader.image(record)) for record in index.records[:COUNT]]


def noise() -> list[Image]:
    """Seeded, for a network of random weights."""
    rng = np.random.default_rng(0)
    return [
        Image(f"noise {number}", rng.integers(0, 256, (*size, 3), np.uint8)) for number, size in enumerate(NOISE, 1)
    ]


def resized(image: Image, size: tuple[int, int]) -> Image:
    """At (height, width), whatever its own ratio."""
    return Image(image.name, resize_image(image.pixels, *size))


def fitted(image: Image, sizes: Sizes, shorter: int, longer: int) -> Image:
    """The image at the size of the network's input. Raises `ExportError` for one that cannot be."""
    if sizes.fixed:
        return resized(image, sizes.fixed)
    pixels = resize_for_inference(image.pixels, shorter, longer)
    height, width = sizes.nearest(*pixels.shape[:2])
    sizes.require(height, width, image.name)
    return resized(Image(image.name, pixels), (height, width))


def _read(path: Path) -> npt.NDArray[np.uint8]:
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if found is None:
        raise ExportError(f"{path} cannot be read as an image; give a JPEG or PNG file")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)
