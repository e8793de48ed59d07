"""Images are normalized as for the published networks."""

import numpy as np
import torch

from model.pixels import IMAGE_MEAN, IMAGE_STD, normalize


def test_normalize_applies_the_published_formula_per_channel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), np.uint8)
    result = normalize(torch.from_numpy(images))
    assert result.shape == (2, 3, 5, 6)
    assert result.dtype == torch.float
    assert result.is_contiguous()
    for channel in range(3):
        expected = (images[..., channel].astype(np.float64) - IMAGE_MEAN[channel]) / IMAGE_STD[channel]
        np.testing.assert_allclose(result[:, channel], expected, atol=1e-5)
