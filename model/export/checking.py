"""Check exported files against the network they were made from: outputs, panoptic maps and speed.

Kernels sum in different orders, so outputs agree up to rounding in float32. How much that changes an output depends on
the image: a mask is a small sum of attention scores of a hundred and more that cancel, and self-attention that hardly
decides between two queries turns an error of 1e-6 into one of 1e-4. On such an image the network itself is as far from
its result in float64 as a sound file is from the network. Hence the second bound: an output may also differ by what it
differs in the network when the input changes by `NOISE`, which is about what rounding has added up to behind the
backbone. It holds for each query alone, so that one that is hard to compute excuses no other.
"""

import statistics
import timeit
from collections.abc import Callable, Mapping, Sequence
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
NOISE = 2.0**-18
"""Largest change of a normalized pixel by noise, the 4000th part of a gray level."""
TRIALS = 3
"""Number of times that noise is added; a query counts as moved by the most."""
EQUAL_PIXELS = 0.999
"""Least accepted fraction of pixels with the same segment after merging."""
ROUNDS = 3
PER_QUERY = frozenset(output.name for output in (*QUERY_OUTPUTS, BOXES, EMBEDDINGS))

T = TypeVar("T")
Found = TypeVar("Found")
Program = Callable[[Tensor], tuple[Tensor, ...]]
"""A network, exported or not: normalized images to its outputs."""
Outputs = Mapping[str, Tensor]
"""Outputs for one image by name, (1, R, ...) with a row for each query or stuff class."""


@dataclass(frozen=True)
class QueryPairs:
    """Queries of one image, matched between two programs."""

    ours: Tensor  # (M,) indices of the matched ones, M of N
    theirs: Tensor  # (M,)
    missing: int  # number of queries, ours and theirs, that the other program lacks but should have

    @classmethod
    def of(cls, ours: Outputs, theirs: Outputs) -> "QueryPairs":
        """Match queries of equal class and tied probability, those with the closest masks first.

        Args:
            ours: outputs of a program, among them `labels`, `probabilities` and `masks`.
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

    def distances(self, ours: Outputs, theirs: Outputs, name: str) -> Tensor:
        """Return the largest difference (R,) of each row of an output; 0 for queries that are not matched."""
        first, second = ours[name][0], theirs[name][0]
        rows = torch.arange(len(first))
        left, right = (self.ours, self.theirs) if name in PER_QUERY else (rows, rows)
        difference = (first[left] - second[right]).abs()
        return first.new_zeros(len(first)).index_copy(0, left, difference[:, None].flatten(1).amax(1))


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
    beyond: Sequence[str]  # outputs that differ by more than `BOUND`, and by more than noise changes them
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
        wrong = list(self.beyond)
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
def require_finite(network: InferenceNetwork, image: NetworkInput) -> None:
    """Check that the network computes numbers: a file that agrees with one that does not would be worthless.

    Raises:
        ExportError: it computes NaN or infinities.
    """
    names = [output.name for output in network.outputs]
    found = zip(names, network(normalized([image])), strict=True)
    if bad := [name for name, output in found if not output.isfinite().all()]:
        raise ExportError(
            f"the network's {', '.join(bad)} are NaN or infinite for {image.name}, so nothing was written; give "
            "--model the weights of a training that did not diverge"
        )


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
    compared = names[1:]  # not the labels, which are equal
    units = {name: _unit(ours[name]) for name in compared}
    distances = {name: queries.distances(ours, theirs, name) / units[name] for name in compared}
    beyond = [name for name in compared if not (distances[name] <= BOUND).all()]
    if beyond:
        moved = _moved_by_noise(network, images, ours, beyond)
        beyond = [name for name in beyond if not (distances[name] <= (moved[name] / units[name]).clamp(BOUND)).all()]
    differences = {name: max(distances[name].tolist(), default=0.0) for name in compared}
    return Comparison(image, queries, differences, beyond, float(np.mean(maps[0] == maps[1])))


def _unit(output: Tensor) -> Tensor:
    """Return the largest value of an output, or 1 if that is larger."""
    return torch.cat((output.abs().flatten(), output.new_ones(1))).max()


def _moved_by_noise(network: Program, images: Tensor, ours: Outputs, names: Sequence[str]) -> Outputs:
    """Return the most by which each row of some outputs of the network changes, (R,), when `images` get `NOISE`."""
    moved = {name: torch.zeros(ours[name].shape[1]) for name in names}
    for seed in range(TRIALS):
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        theirs = dict(zip(ours, network(images + NOISE * noise), strict=True))
        queries = QueryPairs.of(ours, theirs)
        moved = {name: torch.maximum(most, queries.distances(ours, theirs, name)) for name, most in moved.items()}
    return moved


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


def _merged(
    network: InferenceNetwork, outputs: Outputs, image: NetworkInput, settings: MergingSettings
) -> npt.NDArray[np.int32]:
    sizes = [ImageSizes(image.size, image.size, image.size)]
    (prediction,) = predict_panoptic(as_network_output(network.network.num_things, outputs), sizes, settings)
    return prediction.ids
