"""Finer masks than the attention gives, at half the size of the image; not in the papers.

The masks of the mask decoder have the size of the finest level, a quarter or an eighth of the image's. A light stem
looks at the pixels themselves; with that level added, its products with the queries sharpen the enlarged masks. At
first the products are 0, and the masks those of the attention.
"""

from collections.abc import Callable
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.outputs import MaskOutput, Memory, Refinement

WIDTH, GROUPS = 16, 4
Refine = Callable[[Tensor, Memory, MaskOutput, MaskOutput | None], tuple[MaskOutput, MaskOutput | None]]
"""`MaskRefiner`, or `as_they_are`."""


class MaskRefiner(nn.Module):
    """Pixel features from a stem of three convolutions, and what the queries look for in them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, WIDTH, 3, stride=2, padding=1), nn.GroupNorm(GROUPS, WIDTH), nn.ReLU()),
            *(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.GroupNorm(GROUPS, WIDTH), nn.ReLU()),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        )
        self.lateral = nn.Conv2d(channels, WIDTH, 1)
        self.query_pixels, self.stuff_pixels = (_silent(nn.Linear(channels, WIDTH)) for _ in range(2))

    def forward(
        self, images: Tensor, memory: Memory, queries: MaskOutput, stuff: MaskOutput | None
    ) -> tuple[MaskOutput, MaskOutput | None]:
        """Refine the masks of both decoders, given normalized images (B, 3, H, W)."""
        pixels = self.stem(images)
        finest = self.lateral(memory.maps()[0])
        pixels = pixels + F.interpolate(finest, size=pixels.shape[-2:], mode="bilinear", align_corners=False)
        refined = replace(queries, refinement=Refinement(pixels, self.query_pixels(queries.queries[-1])))
        if stuff is not None:
            stuff = replace(stuff, refinement=Refinement(pixels, self.stuff_pixels(stuff.queries[-1])))
        return refined, stuff


def as_they_are(
    images: Tensor, memory: Memory, queries: MaskOutput, stuff: MaskOutput | None
) -> tuple[MaskOutput, MaskOutput | None]:
    """Stand in for `MaskRefiner` in networks whose masks are those of the attention."""
    return queries, stuff


def _silent(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
