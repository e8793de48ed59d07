"""Layout of sky, mountains, forest, water and land: one label per point of a fine grid, with noisy borders."""

from dataclasses import dataclass

import cv2
import numpy as np

from panoptic.format.categories import Category
from panoptic.tools.mini import noise
from panoptic.tools.mini.arrays import Field, Labels
from panoptic.tools.mini.camera import Camera
from panoptic.tools.mini.categories import FOREST, MEADOW, MOUNTAIN, SAND, SKY, WATER

FINENESS = 3
"""Grid points per pixel and axis. Odd, so that one of them is the pixel's center, which decides its label."""

_GROUND = (WATER, SAND, MEADOW)  # from wet to dry, the order in which they follow along a slope


@dataclass(frozen=True)
class Landscape:
    """`labels` (3 H, 3 W): category id of every grid point; `stuff`: the categories in the landscape."""

    labels: Labels
    stuff: tuple[Category, ...]

    def coverage(self, category: Category) -> Field:
        """Compute the fraction (H, W) of each pixel that belongs to a category."""
        height, width = (length // FINENESS for length in self.labels.shape)
        inside = (self.labels == category.id).reshape(height, FINENESS, width, FINENESS)
        fraction: Field = inside.mean(axis=(1, 3))
        return fraction


def lay_out(camera: Camera, rng: np.random.Generator) -> Landscape:
    """Choose four or five stuff classes and lay them out."""
    others = (MOUNTAIN, FOREST, WATER, SAND, MEADOW)
    chosen = {others[i] for i in rng.choice(len(others), size=rng.integers(3, 5), replace=False)}
    ground = tuple(category for category in _GROUND if category in chosen)
    column = (np.arange(camera.width * FINENESS) + 0.5) / (FINENESS * camera.side)
    row = (np.arange(camera.height * FINENESS)[:, None] + 0.5) / (FINENESS * camera.side)
    horizon = camera.horizon_y

    labels = np.full((row.size, column.size), SKY.id, np.int32)
    if MOUNTAIN in chosen:
        labels[row > horizon - _ridge(column, rng)] = MOUNTAIN.id
    land = _ground_labels(camera, ground, rng)
    wave = 0.012 * noise.line(rng, column * 4, octaves=2)
    below = row > horizon + wave
    labels[below] = land[below]
    if FOREST in chosen:
        crowns, foot = _tree_line(column, rng)
        labels[(row > horizon - crowns) & (row < horizon + foot) & (crowns > 0)] = FOREST.id
    stuff = (SKY, *(category for category in others[:2] if category in chosen), *ground)
    return Landscape(labels, stuff)


def _ridge(column: Field, rng: np.random.Generator) -> Field:
    """Height of the mountains above the horizon per column: one broad mass with sharp folds."""
    fold = 1 - np.abs(noise.line(rng, column * rng.uniform(1.4, 3.0), octaves=4, gain=0.45))
    mass = noise.line(rng, column * 1.1, octaves=1)
    height = rng.uniform(0.13, 0.26)
    return np.maximum(height * (0.25 + fold * (0.8 + 0.5 * mass)), 0.03)


def _tree_line(column: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """Height of the trees above the horizon and depth of their feet below it; height 0 outside the forest."""
    count = rng.uniform(9, 18)
    position = column * count + 0.6 * noise.line(rng, column * (count * 0.6), octaves=1)
    across = np.abs(position - np.floor(position) - 0.5) * 2
    pointed = rng.random() < 0.5
    crown = (1 - across) if pointed else np.sqrt(np.clip(1 - across * across, 0, 1))
    rise = noise.line(rng, column * 3, octaves=2)
    clearing = noise.line(rng, column * 1.2, octaves=1)
    extent = noise.smoothstep(-0.1, 0.3, clearing - np.quantile(clearing, rng.uniform(0, 0.5)) + 0.1)
    height = rng.uniform(0.07, 0.16) * (1 + 0.35 * rise) + (0.045 if pointed else 0.028) * crown
    foot = rng.uniform(0.03, 0.09) * (1 + 0.6 * noise.line(rng, column * 4, octaves=3))
    return np.where(extent > 0.15, height * extent, 0), np.maximum(foot * extent, 0.012)


def _ground_labels(camera: Camera, ground: tuple[Category, ...], rng: np.random.Generator) -> Labels:
    """Category ids (3 H, 3 W) of the bare ground.

    They are levels of one smooth height map, so that sand lies between water and meadow.
    """
    height_map = _height_map(camera, rng)
    fractions = rng.uniform(0.7, 1.3, len(ground))
    cuts = np.cumsum(fractions / fractions.sum())[:-1]
    levels = np.quantile(height_map[camera.nearness > 0], cuts)
    fine = cv2.resize(height_map, (camera.width * FINENESS, camera.height * FINENESS), interpolation=cv2.INTER_CUBIC)
    ids = np.array([category.id for category in ground], np.int32)
    return np.asarray(ids[np.searchsorted(levels, fine)], np.int32)


def _height_map(camera: Camera, rng: np.random.Generator) -> Field:
    """Height (H, W) of the land: a slope, a basin or a winding valley, roughened by noise."""
    x, t = camera.x - camera.middle_x, camera.nearness
    u, v = camera.ground
    rough = noise.fractal(rng, u * 1.6, v * 1.6, octaves=2)
    height: Field
    match rng.integers(3):
        case 0:  # a shore, near or far, at any angle
            height = t * rng.choice((-1.2, 1.2)) + x * rng.uniform(-1, 1) + 0.28 * rough
        case 1:  # a lake or an oasis
            height = np.hypot((x - rng.uniform(-0.3, 0.3)) * 1.2, (t - rng.uniform(0.3, 0.75)) * 1.3) + 0.16 * rough
        case _:  # a river or a path
            bend = rng.uniform(0.12, 0.3) * np.sin(v * rng.uniform(2.0, 3.5) + rng.uniform(0, 6))
            course = x - bend - rng.uniform(-0.5, 0.5) * (t - 0.5)
            height = np.abs(course) / (t + 0.3) + 0.12 * rough
    return height
