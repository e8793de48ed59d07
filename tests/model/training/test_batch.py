"""Masks resized a few at a time."""

import torch
import torch.nn.functional as F

from model.training.batch import MASKS_AT_ONCE, resized


def test_resized_masks_equal_resized_floats() -> None:
    """There are more masks than are converted to floats at once."""
    masks = torch.rand(MASKS_AT_ONCE + 3, 9, 13, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = F.interpolate(masks.float()[None], (4, 6), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resized(masks, (4, 6)), expected)
    assert resized(masks[:0], (4, 6)).shape == (0, 4, 6)
