"""Check exported files against the network they were made from: outputs, panoptic maps and speed."""

import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from model.export.inference_network import BOXES, EMBEDDINGS, INPUT, QUERY_OUTPUTS, InferenceNetwork, as_network_output
from model.export.onnx_inference import normalized, open_onnx
from model.export.sizes import ExportError
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.inference.predictor import NetworkInput

TIE = 1e-4
"""Queries whose probabilities differ by no more may swap, or replace each other at the end of the list."""
BOUND = 1e-3
"""Largest accepted difference of an output, relative to its largest value or to 1, whichever is larger."""
EQUAL_PIXELS = 0.999
"""Least accepted fraction of pixels with the same segment after merging."""
ROUNDS = 3
PER_QUERY = frozenset(output.name for output in (*QUERY_OUTPUTS, BOXES, EMBEDDINGS))

T = TypeVar("T")
Found = TypeVar("Found")
Program = Callable[[Tensor], tuple[Tensor, ...]]
"""A network, exported or not: normalized images to its outputs."""


@dataclass(frozen=True)
class QueryPairs:
    """Queries of one image, matched between two programs."""

    ours: Tensor  # (M,) indices of the matched ones, M of N
    theirs: Tensor  # (M,)
    missing: int  # number of queries, ours and theirs, that the other program lacks but should have

    @classmethod
    def of(cls, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> "QueryPairs":
        """Match queries of equal class and tied probability, those with the closest masks first.

        Args:
            ours: outputs for one image by name: `labels` and `probabilities` (1, N), `masks` (1, N, h, w).
            theirs: those of the other program, with the same shapes.
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
    """Count unmatched queries that are too probable to have been replaced by a tied one at the end of the list."""
    alone = torch.ones_like(probabilities, dtype=torch.bool).index_fill(0, matched, False)
    return int((probabilities[alone] > probabilities.min() + TIE).sum())


@dataclass(frozen=True)
class Comparison:
    """Differences between the outputs of an exported file and the network's, for one image."""

    image: NetworkInput
    queries: QueryPairs
    differences: dict[str, float]  # largest by output, in the units of `BOUND`; over matched queries only
    equal_pixels: float  # fraction of the map

    def line(self) -> str:
        """Summarize the comparison in one line."""
        height, width = self.image.size
        parts = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return (
            f"{self.image.name} ({height} x {width}): {100 * self.equal_pixels:.2f} % equal pixels, "
            f"{len(self.queries.ours)} queries matched, {self.queries.missing} missing; {parts}"
        )

    def require(self, file: str) -> None:
        """Check the differences against their bounds.

        Raises:
            ExportError: one is exceeded.
        """
        wrong = [name for name, value in self.differences.items() if not value <= BOUND]
        if self.queries.missing:
            wrong.append("queries")
        if self.equal_pixels < EQUAL_PIXELS:
            wrong.append("pixels")
        if wrong:
            raise ExportError(
                f"{file} differs from the network by more than {BOUND} or {100 * EQUAL_PIXELS} % of the pixels "
                f"({', '.join(wrong)}): {self.line()}; it was not written, please report this"
            )


def load_torch(path: Path) -> Program:
    """Load a saved `torch.export` file."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda images: cast("tuple[Tensor, ...]", tuple(module(images)))


def load_onnx(path: Path) -> Program:
    """Load an ONNX file that ends in the outputs of the network."""
    session = open_onnx(path)
    return lambda images: tuple(torch.from_numpy(found) for found in session.run(None, {INPUT: images.numpy()}))


def run(program: Callable[[T], Found], given: T, name: str) -> Found:
    """Run an exported program.

    Raises:
        ExportError: it fails.
    """
    try:
        return program(given)
    except Exception as error:  # ONNX Runtime's errors have no other base class
        raise ExportError(f"the file does not run on {name}, so it was not written: {error}") from error


@torch.no_grad()
def compare_program(
    network: InferenceNetwork, program: Program, image: NetworkInput, settings: MergingSettings
) -> Comparison:
    """Compare an exported program with the network on one image.

    Raises:
        ExportError: the program fails, or its outputs have other shapes.
    """
    images = normalized([image])
    exported = run(program, images, image.name)
    names = [output.name for output in network.outputs]
    ours, theirs = (dict(zip(names, outputs, strict=True)) for outputs in (network(images), exported))
    for name in names:
        if ours[name].shape != theirs[name].shape:
            raise ExportError(
                f"{name} has shape {tuple(theirs[name].shape)}; the network's has {tuple(ours[name].shape)}"
            )
    maps = [_merged(network, outputs, image, settings) for outputs in (ours, theirs)]
    queries = QueryPairs.of(ours, theirs)
    differences = {}
    for name in names[1:]:  # not the labels, which are equal
        first, second = ours[name], theirs[name]
        if name in PER_QUERY:
            first, second = first[:, queries.ours], second[:, queries.theirs]
        differences[name] = _difference(first, second)
    return Comparison(image, queries, differences, float(np.mean(maps[0] == maps[1])))


@torch.no_grad()
def time_ratio(
    slower: Callable[[T], object], faster: Callable[[T], object], inputs: Sequence[T]
) -> tuple[float, float, float]:
    """Measure the speedup of one program over another in interleaved runs: median, least, largest.

    They take turns in going first: the second one finds the image in the caches.
    """
    programs = ((0, slower), (1, faster))
    ratios = []
    for turn in range(ROUNDS):
        seconds = [0.0, 0.0]
        for number, given in enumerate(inputs):
            for index, forward in programs if (turn + number) % 2 else reversed(programs):
                seconds[index] += timeit.timeit(partial(forward, given), number=1)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios), min(ratios), max(ratios)


def _difference(expected: Tensor, found: Tensor) -> float:
    if not expected.numel():
        return 0.0
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=1))


def _merged(
    network: InferenceNetwork, outputs: dict[str, Tensor], image: NetworkInput, settings: MergingSettings
) -> npt.NDArray[np.int32]:
    sizes = [ImageSizes(image.size, image.size, image.size)]
    (prediction,) = predict_panoptic(as_network_output(network.network.num_things, outputs), sizes, settings)
    return prediction.ids
