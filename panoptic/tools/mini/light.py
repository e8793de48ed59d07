"""The light of a scene: time of day, position of the sun, haze, and vignetting."""

from dataclasses import dataclass

import numpy as np

from panoptic.tools.mini.arrays import Color, Colors, Field, color


@dataclass(frozen=True)
class Light:
    """Colors are RGB, about 0..1; `direction` is the unit vector to the sun: x right, y down, z to the viewer."""

    direction: tuple[float, float, float]
    sun: Color
    ambient: Color
    sky_top: Color
    sky_low: Color
    haze: float
    vignette: float

    def facing(self, slope_x: Field, slope_y: Field) -> Field:
        """Cosine (H, W), 0..1, between the sun and the normals of a surface with these slopes towards the viewer."""
        x, y, z = self.direction
        towards: Field = (z - x * slope_x - y * slope_y) / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
        return np.clip(towards, 0, 1)

    def shade(self, slope_x: Field, slope_y: Field) -> Colors:
        """Light (H, W, 3) that falls on a surface with these slopes (H, W)."""
        return self.ambient + self.sun * self.facing(slope_x, slope_y)[..., None]

    @property
    def flat(self) -> Color:
        """Light (3,) on level ground."""
        return self.ambient + self.sun * 0.72

    @property
    def shadow(self) -> float:
        """Strength of cast shadows, 0..1: dark in sunshine, faint under clouds."""
        return float(self.sun.mean() / (self.sun.mean() + self.ambient.mean()))


# sky at the zenith, sky at the horizon, sunlight, ambient light
_TIMES_OF_DAY = (
    (color(0.24, 0.50, 0.86), color(0.74, 0.87, 0.96), color(0.74, 0.72, 0.66), color(0.54, 0.56, 0.60)),  # noon
    (color(0.45, 0.65, 0.86), color(0.99, 0.87, 0.76), color(0.72, 0.64, 0.54), color(0.54, 0.53, 0.56)),  # morning
    (color(0.38, 0.46, 0.70), color(1.00, 0.74, 0.44), color(0.80, 0.60, 0.38), color(0.50, 0.45, 0.47)),  # golden hour
    (color(0.27, 0.28, 0.52), color(0.92, 0.60, 0.58), color(0.50, 0.38, 0.42), color(0.46, 0.42, 0.53)),  # dusk
    (color(0.60, 0.66, 0.72), color(0.84, 0.86, 0.87), color(0.28, 0.28, 0.29), color(0.76, 0.78, 0.80)),  # overcast
)
_CHANCES = (0.3, 0.25, 0.2, 0.1, 0.15)


def choose_light(rng: np.random.Generator) -> Light:
    """Choose a time of day, usually a blend of two of the table's, and a position of the sun."""
    first, second = rng.choice(len(_TIMES_OF_DAY), size=2, p=_CHANCES)
    fraction = rng.uniform(0, 0.5)
    mixed = [a + (b - a) * fraction for a, b in zip(_TIMES_OF_DAY[first], _TIMES_OF_DAY[second], strict=True)]
    sky_top, sky_low, sun, ambient = mixed
    tint = rng.uniform(0.93, 1.07, 3) * rng.uniform(0.9, 1.08)
    side = rng.uniform(0.25, 0.85) * rng.choice((-1, 1))
    towards = np.array((side, -rng.uniform(0.45, 0.8), rng.uniform(0.45, 0.8)))
    x, y, z = (towards / np.linalg.norm(towards)).tolist()
    return Light(
        direction=(x, y, z),
        sun=sun * tint,
        ambient=ambient * tint,
        sky_top=sky_top * tint,
        sky_low=sky_low * tint,
        haze=float(rng.uniform(0.05, 0.6)),
        vignette=float(rng.uniform(0.0, 0.25)),
    )


def apply_vignette(image: Colors, light: Light) -> Colors:
    """Darken the corners of an image (H, W, 3) as a lens does."""
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)[None, :]
    return image * (1 - light.vignette * (x * x + y * y)[..., None] / 2)
