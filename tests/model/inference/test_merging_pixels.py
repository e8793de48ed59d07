"""Merging by an argmax over the masks, against a pixel-by-pixel account of its rules, and beside the paper's way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.inference.merging_outputs import SETTINGS, STUFF, THINGS, box_mask, joint_output, predict_one


def brute_force_owners(masks: Tensor, probabilities: Tensor, labels: Tensor, method: str) -> dict[tuple[int, int], int]:
    """Pixel -> label of the segment there, by the rules of DETR and MaskFormer; masks at the image's size."""
    taking_part = [position for position in range(len(masks)) if probabilities[position] >= 0.25]
    owners: dict[tuple[int, int], int] = {}
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            values = {position: float(masks[position, y, x]) for position in taking_part}
            ranks = {
                position: value if method == "pixel" else min(value, 1.0) * float(probabilities[position])
                for position, value in values.items()
            }
            best = max(taking_part, key=lambda position: (ranks[position], probabilities[position]))
            if values[best] > 0.5:
                owners[y, x] = best
    kept: dict[tuple[int, int], int] = {}
    for position in taking_part:
        label = int(labels[position])
        family = [other for other in taking_part if other == position or label == labels[other] >= THINGS]
        area = int((masks[family] > 0.5).any(0).sum())
        pixels = [pixel for pixel, owner in owners.items() if owner in family]
        if area and 1 - len(pixels) / area <= (0.4 if label < THINGS else 0.2):
            kept |= dict.fromkeys(pixels, label)
    return kept


@pytest.mark.parametrize("method", ["pixel", "pixel_class"])
@pytest.mark.parametrize("seed", range(10))
def test_argmax_over_the_masks_equals_brute_force(method: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 11, (12, 2, 2), generator=generator).sort(dim=1).values
    shapes = torch.stack([box_mask(*corner.flatten().tolist()) for corner in corners])
    masks = shapes * torch.rand(12, 10, 10, generator=generator).add(0.45)
    scores = torch.rand(12, generator=generator)
    labels = torch.randint(0, THINGS + STUFF, (12,), generator=generator)
    prediction = predict_one(joint_output(masks, scores, labels), replace(SETTINGS, method=method))
    of_id = {segment.id: segment.label for segment in prediction.segments}
    found = {(int(y), int(x)): of_id[int(prediction.ids[y, x])] for y, x in zip(*prediction.ids.nonzero(), strict=True)}
    assert found == brute_force_owners(masks, scores, labels, method)
    areas = np.bincount(prediction.ids.ravel(), minlength=len(of_id) + 1)[1:]
    assert [segment.area for segment in prediction.segments] == areas.tolist()
    stuff = [segment.label for segment in prediction.segments if not segment.is_thing]
    assert len(set(stuff)) == len(stuff)


@pytest.mark.parametrize(
    ("method", "allowed", "labels"),
    [
        ("pixel", 0.35, [0, 1, 1]),
        ("pixel", 0.3, [None, 1, 1]),
        ("pixel_class", 0.35, [0, 0, 1]),
        ("pixel_class", 0.3, [0, 0, None]),
        ("mask", 0.35, [0, 0, 1]),
    ],
)
def test_methods_disagree_where_a_sure_class_meets_a_strong_mask(
    method: str, allowed: float, labels: list[int | None]
) -> None:
    """A sure mask left and in the middle, an unsure but stronger one in the middle and right.

    Who has lost the middle, a third of its area, is left out where less than that is allowed; nobody gets the rest.
    """
    masks = torch.stack((0.8 * box_mask(0, 0, 10, 6), 1.6 * box_mask(0, 4, 10, 10)))
    output = joint_output(masks, torch.tensor([0.9, 0.3]), torch.tensor([0, 1]))
    prediction = predict_one(output, replace(SETTINGS, method=method, beta=0.0, overlap_things=allowed))
    of_id = {segment.id: segment.label for segment in prediction.segments}
    assert [of_id.get(int(prediction.ids[5, column])) for column in (1, 5, 8)] == labels
