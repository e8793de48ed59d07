"""Outlines of the six things. A class is its outline alone: color, size and rotation do not depend on it."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import Category
from panoptic.tools.mini.categories import BALL, HEART, KITE, MOON, RING, STAR

Contour: TypeAlias = NDArray[np.float64]
"""(N, 2) points x, y within the unit circle."""


def draw_shape(category: Category, rng: np.random.Generator) -> tuple[Contour, ...]:
    """Draw the contours of a thing, with slightly varying proportions; a second contour is a hole."""
    free = rng.uniform(0, 1)  # drawn for every class, so that later draws do not depend on the class
    if category == BALL:
        return (_ellipse(0.84, 0.84),)
    if category == RING:
        hole = 0.40 + 0.14 * free
        return _ellipse(0.94, 0.94), _ellipse(hole, hole)
    if category == MOON:
        return (_moon(0.36 + 0.12 * free),)
    if category == STAR:
        return (_star(0.42 + 0.08 * free),)
    if category == KITE:
        return (_kite(0.56 + 0.12 * free, 0.3),)
    assert category == HEART, f"{category.name} has no shape"
    return (_heart(0.94 + 0.12 * free),)


def draw_boulder(rng: np.random.Generator) -> tuple[Contour, ...]:
    """Draw the contour of a stone: an ellipse with a few random waves."""
    angle = _angles(64)
    radius = np.ones_like(angle)
    for waves in range(2, 6):
        radius += rng.uniform(-0.13, 0.13) / waves * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return (_ellipse(0.86, 0.86 * rng.uniform(0.6, 0.85)) * radius[:, None],)


def _angles(count: int) -> NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _ellipse(radius_x: float, radius_y: float) -> Contour:
    angle = _angles(64)
    return np.stack((radius_x * np.cos(angle), radius_y * np.sin(angle)), axis=1)


def _moon(cut: float) -> Contour:
    """A circle minus an equal circle shifted right by `cut` diameters; the horns end where the two meet."""
    half = np.arccos(cut)
    outer = np.linspace(half, 2 * np.pi - half, 48)
    inner = np.linspace(np.pi + half, np.pi - half, 32)[1:-1]
    x = np.concatenate((np.cos(outer), 2 * cut + np.cos(inner)))
    y = np.concatenate((np.sin(outer), np.sin(inner)))
    return np.stack((x, y), axis=1)


def _star(inner: float) -> Contour:
    angle = _angles(10) - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)


def _kite(half_width: float, cross: float) -> Contour:
    return np.array(((0.0, -1.0), (half_width, -cross), (0.0, 1.0), (-half_width, -cross)))


def _heart(stretch: float) -> Contour:
    t = _angles(64)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack((x * stretch, y + 2.5), axis=1) / 16.5
