"""Masks at other sizes."""

import torch
import torch.nn.functional as F

from model.training.batch import MASKS_AT_ONCE, resized


def test_resized_masks_are_those_of_floats() -> None:
    """More masks than are turned into floats at once."""
    masks = torch.rand(MASKS_AT_ONCE + 3, 9, 13, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = F.interpolate(masks.float()[None], (4, 6), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resized(masks, (4, 6)), expected)
    assert resized(masks[:0], (4, 6)).shape == (0, 4, 6)
