"""What the things are painted with. Every class may wear every coat: nothing but the shape tells classes apart."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from panoptic.tools.mini import noise
from panoptic.tools.mini.arrays import Color, Colors, Field

Pattern: TypeAlias = Literal["plain", "stripes", "dots", "gradient"]
_PATTERNS: tuple[Pattern, ...] = ("plain", "plain", "stripes", "dots", "gradient")


@dataclass(frozen=True)
class Coat:
    """Two colors and the way they are laid on; `pitch` (in radii of the thing) and `angle` belong to the pattern."""

    pattern: Pattern
    first: Color
    second: Color
    pitch: float
    angle: float

    def paint(self, x: Field, y: Field) -> Colors:
        """Colors (H, W, 3) at coordinates in which the thing has the radius 1."""
        along = x * np.cos(self.angle) + y * np.sin(self.angle)
        across = y * np.cos(self.angle) - x * np.sin(self.angle)
        wave = 2 * np.pi / self.pitch
        share = np.zeros_like(x)
        match self.pattern:
            case "stripes":
                share = noise.smoothstep(-0.3, 0.3, np.sin(along * wave))
            case "dots":
                share = noise.smoothstep(0.1, 0.5, np.cos(along * wave) * np.cos(across * wave))
            case "gradient":
                share = noise.smoothstep(-0.9, 0.9, along)
        return self.first + (self.second - self.first) * share[..., None]


def choose_coat(rng: np.random.Generator, behind: Color) -> Coat:
    """A coat of any colors, most often ones that stand out from what is `behind`; the class has no say in it."""
    first = _any_color(rng)
    for _ in range(4):
        if np.linalg.norm(first - behind) > 0.42:
            break
        first = _any_color(rng)
    second = _any_color(rng)
    if rng.random() < 0.5:  # a paler or darker kind of the first
        second = first * rng.uniform(0.5, 0.75) if first.mean() > 0.5 else np.minimum(first + 0.35, 1)
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))]
    return Coat(pattern, first, second, rng.uniform(0.45, 0.8), rng.uniform(0, 2 * np.pi))


def choose_stone(rng: np.random.Generator) -> Coat:
    """Gray or brown, darker on one side."""
    gray = rng.uniform(0.35, 0.6) * (1 + rng.uniform(-0.08, 0.08, 3))
    return Coat("gradient", gray, gray * 0.75, pitch=1.0, angle=rng.uniform(0, 2 * np.pi))


def _any_color(rng: np.random.Generator) -> Color:
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.25, 1.0), rng.uniform(0.45, 1.0)
    wheel = np.clip(np.abs((hue * 6 + np.array((0.0, 4.0, 2.0))) % 6 - 3) - 1, 0, 1)
    mixed: Color = value * (1 - saturation * (1 - wheel))
    return mixed
