"""Paint the six stuff classes.

Their colors overlap (dry grass and sand, water and sky, forest and hills): texture and position tell them apart.
"""

import numpy as np

from panoptic.format.categories import Category
from panoptic.tools.mini import noise
from panoptic.tools.mini.arrays import Color, Colors, Field, color
from panoptic.tools.mini.camera import Camera
from panoptic.tools.mini.categories import FOREST, MEADOW, MOUNTAIN, SAND, SKY, WATER
from panoptic.tools.mini.light import Light


def paint(category: Category, camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """Paint a whole image (H, W, 3) with one stuff class, lit."""
    painters = {SKY: _sky, MOUNTAIN: _mountain, FOREST: _forest, MEADOW: _meadow, SAND: _sand, WATER: _water}
    return painters[category](camera, light, rng)


def _sky(camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """Dark above, bright at the horizon, brighter still around the sun, with clouds lit from above."""
    rise = np.clip(camera.y / camera.horizon_y, 0, 1)[..., None]
    image = light.sky_top + (light.sky_low - light.sky_top) * rise**1.3
    away = (camera.x - _sun_x(light)) ** 2 + (1 - rise[..., 0]) ** 2 / 3
    image = image + light.sun * 0.22 * np.exp(-5 * away)[..., None]
    u, v = camera.x * rng.uniform(1.6, 2.6), camera.y * rng.uniform(4.5, 7)
    puffs = noise.fractal(rng, u, v, octaves=4, gain=0.55)
    cover = noise.smoothstep(0.0, 0.4, puffs + rng.uniform(-0.45, 0.15))[..., None] * rng.uniform(0.5, 0.95)
    lift, _ = _slopes(puffs)
    white = np.clip(light.ambient + light.sun * (0.6 + 1.5 * lift[..., None]), 0, 1)
    return image + (white - image) * cover


def _mountain(camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """Folded rock, lit from one side, sometimes with snow, hazier towards the foot."""
    rock = _between(
        rng, color(0.42, 0.40, 0.42), color(0.50, 0.40, 0.32), color(0.36, 0.42, 0.36), color(0.34, 0.38, 0.50)
    )
    u, v = camera.x * 5, camera.y * 6
    folds = 1 - np.abs(noise.fractal(rng, u + 0.35 * v, v, octaves=4, gain=0.6))
    down, across = _slopes(folds)
    shade = light.shade(across * 5, down * 3)
    grain = 1 + 0.11 * noise.fractal(rng, u * 5, v * 4, octaves=2)[..., None]
    image = rock * grain * shade
    if rng.random() < 0.45:
        above = camera.horizon_y - camera.y - rng.uniform(0.13, 0.20)
        snow = noise.smoothstep(-0.02, 0.02, above + 0.05 * folds)[..., None]
        image = image + (color(0.95, 0.96, 1.0) * shade - image) * snow
    foot = np.clip(1 - (camera.horizon_y - camera.y) / 0.35, 0, 1)[..., None]
    return image + (light.sky_low - image) * (light.haze * 0.75) * foot


def _forest(camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """Dense crowns, each a dome lit by the sun, dark in between; green or in autumn colors."""
    leaf = _between(
        rng, color(0.18, 0.42, 0.20), color(0.14, 0.38, 0.28), color(0.40, 0.44, 0.16), color(0.56, 0.34, 0.15)
    )
    scale = rng.uniform(15, 21)
    dome, own = noise.bumps(rng, camera.x * scale, camera.y * scale * 0.9)
    down, across = _slopes(dome)
    shade = light.shade(across * 2, down * 2)
    tone = 0.55 + 0.55 * dome + 0.35 * (own - 0.5)
    image = leaf * tone[..., None] * shade
    warm = (own[..., None] > 0.8) * color(0.06, 0.03, -0.01)
    return image + warm + (light.sky_low - image) * (light.haze * 0.22)


def _meadow(camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """Patches of green and straw with upright blades and some flowers."""
    grass = _between(
        rng, color(0.38, 0.58, 0.22), color(0.30, 0.52, 0.26), color(0.60, 0.62, 0.28), color(0.70, 0.62, 0.36)
    )
    u, v = camera.ground
    patches = noise.fractal(rng, u * 3, v * 3, octaves=3)[..., None]
    blades = noise.fractal(rng, camera.x * 46, camera.y * 13, octaves=2)[..., None]
    near = 0.5 + 0.5 * camera.nearness[..., None]
    image = grass * (1 + 0.18 * patches + 0.2 * blades * near) + color(0.06, 0.0, -0.02) * patches
    if rng.random() < 0.6:
        dome, own = noise.bumps(rng, u * 15, v * 15)
        bloom = ((dome > 0.8) & (own > rng.uniform(0.75, 0.92)))[..., None] * 0.75
        flower = rng.uniform(0.45, 1.0, 3)
        image = image + (flower - image) * bloom
    return image * light.flat


def _sand(camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """Low dunes with wind ripples and grains."""
    sand = _between(
        rng, color(0.88, 0.78, 0.56), color(0.80, 0.66, 0.46), color(0.78, 0.74, 0.66), color(0.74, 0.56, 0.42)
    )
    u, v = camera.ground
    dunes = noise.fractal(rng, u * 2, v * 3, octaves=2)
    angle = rng.uniform(-0.5, 0.5)
    along = u * np.sin(angle) + v * np.cos(angle)
    ripples: Field = np.sin(along * rng.uniform(38, 52) + 5 * dunes) * camera.nearness
    grains = noise.fractal(rng, camera.x * 60, camera.y * 60, octaves=1)
    tone: Field = 1 + 0.09 * dunes + 0.075 * ripples + 0.035 * grains
    return sand * tone[..., None] * light.flat


def _water(camera: Camera, light: Light, rng: np.random.Generator) -> Colors:
    """The sky reflected in long low waves over the water's own color, with glitter below the sun."""
    deep = _between(
        rng, color(0.12, 0.40, 0.58), color(0.14, 0.50, 0.54), color(0.26, 0.42, 0.44), color(0.20, 0.34, 0.54)
    )
    u, v = camera.ground
    waves = noise.fractal(rng, u * 6, v * 32, octaves=3, gain=0.5)
    mirror = np.clip(0.66 - 0.45 * camera.nearness + 0.34 * waves, 0.04, 0.95)[..., None]
    sky = light.sky_low + (light.sky_top - light.sky_low) * camera.nearness[..., None]
    image = deep * light.flat + (sky - deep * light.flat) * mirror
    beside = np.abs(camera.x - _sun_x(light))
    glitter = noise.smoothstep(0.3, 0.75, waves + 0.25 * np.exp(-5 * beside))[..., None]
    return image + light.sun * 0.42 * glitter


def _between(rng: np.random.Generator, *colors: Color) -> Color:
    """Mix the given colors, usually close to one of them."""
    weights = rng.dirichlet(np.full(len(colors), 0.6))
    return np.asarray(weights @ np.stack(colors), np.float64)


def _slopes(height: Field) -> tuple[Field, Field]:
    """Slopes of (H, W) from each pixel to the next one down and to the next one right."""
    down: Field = np.gradient(height, axis=0)
    right: Field = np.gradient(height, axis=1)
    return down, right


def _sun_x(light: Light) -> float:
    """Horizontal position of the sun in units of `Camera.x`."""
    return 0.95 if light.direction[0] > 0 else 0.05
