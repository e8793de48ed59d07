"""Textures of the things. Every class may have every texture: only the shape tells classes apart."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from panoptic.tools.mini import noise
from panoptic.tools.mini.arrays import Color, Colors, Field

Pattern: TypeAlias = Literal["plain", "stripes", "dots", "gradient"]
_PATTERNS: tuple[Pattern, ...] = ("plain", "plain", "stripes", "dots", "gradient")


@dataclass(frozen=True)
class Texture:
    """Two colors in a pattern; `pitch` (in radii of the thing) and `angle` describe the pattern."""

    pattern: Pattern
    first: Color
    second: Color
    pitch: float
    angle: float

    def paint(self, x: Field, y: Field) -> Colors:
        """Colors (H, W, 3) at coordinates in which the thing has radius 1."""
        along = x * np.cos(self.angle) + y * np.sin(self.angle)
        across = y * np.cos(self.angle) - x * np.sin(self.angle)
        wave = 2 * np.pi / self.pitch
        mix = np.zeros_like(x)
        match self.pattern:
            case "stripes":
                mix = noise.smoothstep(-0.3, 0.3, np.sin(along * wave))
            case "dots":
                mix = noise.smoothstep(0.1, 0.5, np.cos(along * wave) * np.cos(across * wave))
            case "gradient":
                mix = noise.smoothstep(-0.9, 0.9, along)
        return self.first + (self.second - self.first) * mix[..., None]


def choose_texture(rng: np.random.Generator, behind: Color) -> Texture:
    """Choose a texture regardless of class, usually in colors that stand out from the one `behind`."""
    first = _any_color(rng)
    for _ in range(4):
        if np.linalg.norm(first - behind) > 0.42:
            break
        first = _any_color(rng)
    second = _any_color(rng)
    if rng.random() < 0.5:  # a paler or darker shade of the first
        second = first * rng.uniform(0.5, 0.75) if first.mean() > 0.5 else np.minimum(first + 0.35, 1)
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))]
    return Texture(pattern, first, second, rng.uniform(0.45, 0.8), rng.uniform(0, 2 * np.pi))


def choose_stone_texture(rng: np.random.Generator) -> Texture:
    """Choose a gray or brown texture, darker on one side."""
    gray = rng.uniform(0.35, 0.6) * (1 + rng.uniform(-0.08, 0.08, 3))
    return Texture("gradient", gray, gray * 0.75, pitch=1.0, angle=rng.uniform(0, 2 * np.pi))


def _any_color(rng: np.random.Generator) -> Color:
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.25, 1.0), rng.uniform(0.45, 1.0)
    wheel = np.clip(np.abs((hue * 6 + np.array((0.0, 4.0, 2.0))) % 6 - 3) - 1, 0, 1)
    mixed: Color = value * (1 - saturation * (1 - wheel))
    return mixed
