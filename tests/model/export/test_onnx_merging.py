"""Merging as a part of an ONNX graph gives the maps and segments of `model.inference.merging`."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from model.inference.merging import MergingSettings
from tests.model.export.merging_graph import STUFF, THINGS, MergingGraph, ours, require_equal

SETTINGS = MergingSettings()
Case = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def graph() -> MergingGraph:
    return MergingGraph(SETTINGS)


def options(settings: MergingSettings) -> dict[str, float]:
    """Return the settings of the method `mask`, the only one that is exported."""
    return {name: value for name, value in asdict(settings).items() if name not in ("method", "pixel_threshold")}


def check(graph: MergingGraph, case: Case, settings: MergingSettings, size: tuple[int, int] | None = None) -> int:
    """Compare both, and return the number of segments."""
    expected = ours(*case, settings, size)
    given: dict[str, object] = {**options(settings), **({"original_size": size} if size else {})}
    require_equal(graph(*case, given), expected)
    return len(expected.segments)


def blobs(rng: np.random.Generator, steps: int = 0) -> Case:
    """Overlapping smooth masks; with `steps`, all numbers are multiples of 1/steps, so that many are equal."""
    number, height, width = int(rng.integers(1, 40)), int(rng.integers(1, 24)), int(rng.integers(1, 24))
    centers, radii = rng.uniform(0, 1, (number, 2)), rng.uniform(0.05, 0.35, number)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    distance = np.hypot(rows - centers[:, :1, None], columns - centers[:, 1:, None])
    masks = np.clip(1.2 - distance / radii[:, None, None], 0, 1.1)
    probabilities = rng.uniform(0.2, 1, number)
    if steps:
        masks, probabilities = np.round(masks * steps) / steps, np.round(probabilities * steps) / steps
    labels = rng.integers(0, THINGS + STUFF, number)
    return torch.from_numpy(masks).float(), torch.from_numpy(labels), torch.from_numpy(probabilities).float()


def random_settings(rng: np.random.Generator) -> MergingSettings:
    score, mask = float(rng.choice((0, 0.125, 0.25, 0.5))), float(rng.choice((0, 0.125, 0.25, 0.5)))
    things, stuff = (float(rng.choice((0.25, 0.4, 0.5, 0.75))) for _ in range(2))
    alpha, beta = (float(rng.choice((0, 0.5, 1, 2, 3))) for _ in range(2))
    return MergingSettings("mask", score, mask, alpha, beta, things, stuff)


def test_random_masks_at_random_sizes(graph: MergingGraph) -> None:
    rng, segments = np.random.default_rng(0), 0
    for _ in range(300):
        size = int(rng.integers(1, 90)), int(rng.integers(1, 90))
        segments += check(graph, blobs(rng), random_settings(rng), size)
    assert segments > 500


def test_ties_and_values_exactly_at_the_thresholds(graph: MergingGraph) -> None:
    rng, segments = np.random.default_rng(1), 0
    for turn in range(300):
        case = blobs(rng, steps=4 if turn % 2 else 8)
        factor = int(rng.choice((1, 2, 4)))  # so that enlarging is exact as well
        size = case[0].shape[1] * factor, case[0].shape[2] * factor
        segments += check(graph, case, random_settings(rng), size)
    assert segments > 500


def full(values: list[float], labels: list[int], probabilities: list[float], size: int = 4) -> Case:
    masks = torch.tensor(values)[:, None, None].expand(-1, size, size).contiguous()
    return masks, torch.tensor(labels), torch.tensor(probabilities)


@pytest.mark.parametrize(
    ("case", "segments"),
    [
        (full([0.2, 0.4], [0, 3], [0.9, 0.9]), 0),  # all void: no value is above the threshold
        (full([0.5], [0], [1.0]), 0),  # exactly at it
        (full([1.0, 1.0], [0, 1], [0.1, 0.2]), 0),  # no score is high enough
        (full([1.0], [0], [1.0], size=1), 0),  # one pixel: its quality is a half, the score a quarter, at beta 2
        (full([1.0, 1.0], [0, 1], [0.9, 0.9]), 1),  # the first of equal ones
        (full([1.0, 1.0], [1, 0], [0.9, 0.9]), 1),
        (full([1.0, 1.0, 1.0], [3, 4, 3], [0.9, 0.8, 0.7]), 1),  # a joined mask that adds no pixel
    ],
)
def test_cases_made_by_hand(graph: MergingGraph, case: Case, segments: int) -> None:
    settings = replace(SETTINGS, score_threshold=0.26)
    assert check(graph, case, settings) == segments


def test_no_mask_at_all(graph: MergingGraph) -> None:
    case = torch.zeros(0, 3, 5), torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    found = graph(*case, {"original_size": (6, 7)})
    assert found["ids"].shape == (6, 7)
    assert not found["ids"].any()
    assert found["boxes_xywh"].shape == (0, 4)


def test_a_score_exactly_at_the_threshold_counts(graph: MergingGraph) -> None:
    case = full([1.0], [0], [0.5], size=1)
    assert check(graph, case, replace(SETTINGS, beta=1.0, score_threshold=0.25)) == 1
    assert check(graph, case, replace(SETTINGS, beta=1.0, score_threshold=float(np.nextafter(0.25, 1)))) == 1
    assert check(graph, case, replace(SETTINGS, beta=1.0, score_threshold=0.2500001)) == 0


def overlapping(lost: int, labels: list[int]) -> Case:
    """Two masks in a row of 20 pixels, of which the second, of 10 pixels, loses some to the first."""
    masks = torch.zeros(2, 1, 20)
    masks[0, 0, : 5 + lost] = 1
    masks[1, 0, 5:15] = 1
    return masks, torch.tensor(labels), torch.tensor([1.0, 0.9])


@pytest.mark.parametrize(
    ("labels", "most"),
    [([0, 1], 4), ([3, 1], 4), ([0, 3], 2), ([3, 4], 2), ([3, 3], 10)],  # of one stuff class, nothing is lost
)
def test_an_overlap_exactly_at_the_limit_is_kept(graph: MergingGraph, labels: list[int], most: int) -> None:
    settings = replace(SETTINGS, beta=0.0)
    for lost in range(10):
        expected = 1 if labels[0] == labels[1] == 3 or lost > most else 2
        assert check(graph, overlapping(lost, labels), settings) == expected


def test_more_segments_than_a_byte_holds(graph: MergingGraph) -> None:
    number = 700
    masks = torch.eye(number).reshape(number, 28, 25)
    labels = torch.arange(number) % THINGS
    settings = replace(SETTINGS, score_threshold=0.0)
    assert check(graph, (masks, labels, torch.linspace(0.1, 1, number)), settings) == number


def test_things_within_stuff_that_joins_around_them(graph: MergingGraph) -> None:
    masks = torch.zeros(4, 6, 6)
    masks[0, 2:4, 2:4] = 1  # a thing
    masks[1, :3] = 1  # stuff above, and below
    masks[2, 3:] = 1
    masks[3, :, :] = 1  # the same stuff everywhere
    labels = torch.tensor([1, 3, 3, 3])
    assert check(graph, (masks, labels, torch.tensor([1.0, 0.9, 0.8, 0.7])), replace(SETTINGS, beta=0.0)) == 2


def test_defaults_are_the_settings_and_the_size_of_the_input(graph: MergingGraph) -> None:
    case = blobs(np.random.default_rng(3))
    require_equal(graph(*case), ours(*case, SETTINGS))
    settings = replace(SETTINGS, score_threshold=0.0, mask_threshold=0.7, overlap_things=1.0)
    require_equal(MergingGraph(settings)(*case), ours(*case, settings))
