"""Sizes of what is drawn, which grow with the image, so that it reads well from a thumbnail to 24 megapixels."""

from dataclasses import dataclass
from math import sqrt

# Geometric mean of the sides of a 640 x 480 image, for which the sizes below are stated.
_USUAL_SIDE = 554
# Large images are shown on larger screens and looked into, so sizes grow a little slower than sides.
_GROWTH = 0.85


@dataclass(frozen=True)
class Style:
    """Sizes in pixels, for one image."""

    line: float
    """Width of the outline of a thing."""
    font: int
    hatch: int
    """Distance between the stripes of void, along a row."""
    thing_opacity: float
    stuff_opacity: float

    @classmethod
    def of(cls, height: int, width: int, letters: float = 1) -> "Style":
        """Choose the sizes for an image, with font sizes times `letters`.

        Small images are tinted more strongly, as outlines tell less there.
        """
        scale = (sqrt(height * width) / _USUAL_SIDE) ** _GROWTH
        extra = min(0.12, max(0.0, 0.16 * (1 - scale)))
        return cls(
            line=max(0.9, 2.0 * scale),
            font=max(9, round(15 * letters * scale)),
            hatch=max(4, round(9 * scale)),
            thing_opacity=0.48 + extra,
            stuff_opacity=0.32 + extra,
        )
