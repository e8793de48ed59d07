"""Smooth random fields at arbitrary coordinates, from which clouds, ridges and ripples are made."""

import numpy as np

from panoptic.tools.mini.arrays import Field

_GRID = 64


def fractal(rng: np.random.Generator, u: Field, v: Field, octaves: int = 4, gain: float = 0.5) -> Field:
    """Value noise summed over octaves at coordinates (u, v): about -1..1, with features of size 1 and below."""
    total = np.zeros(u.shape)
    scale, weight, weights = 1.0, 1.0, 0.0
    for _ in range(octaves):
        grid = rng.uniform(-1, 1, (_GRID, _GRID))
        shift_u, shift_v = rng.uniform(0, _GRID, 2)
        total += weight * _interpolate(grid, u * scale + shift_u, v * scale + shift_v)
        weights += weight
        scale *= 2.0
        weight *= gain
    return total * (1.5 / weights)


def line(rng: np.random.Generator, u: Field, octaves: int = 4, gain: float = 0.5) -> Field:
    """One-dimensional `fractal`: u (N,) -> (N,), about -1..1."""
    return fractal(rng, u, np.zeros_like(u), octaves, gain)


def bumps(rng: np.random.Generator, u: Field, v: Field) -> tuple[Field, Field]:
    """Domes packed side by side, one per unit cell.

    Returns the height at (u, v), 0 in the gaps and 1 at the tops, and for each dome a random number 0..1.
    """
    jitter = rng.uniform(0.15, 0.85, (2, _GRID, _GRID))
    tone = rng.uniform(0, 1, (_GRID, _GRID))
    column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    nearest = np.full(u.shape, 4.0)
    own = np.zeros(u.shape)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            j, i = (row + down) % _GRID, (column + right) % _GRID
            distance = (column + right + jitter[0, j, i] - u) ** 2 + (row + down + jitter[1, j, i] - v) ** 2
            closer = distance < nearest
            nearest = np.where(closer, distance, nearest)
            own = np.where(closer, tone[j, i], own)
    return np.clip(1 - nearest / 0.6, 0, 1), own


def smoothstep(low: float, high: float, value: Field) -> Field:
    """Ramp smoothly from 0 below `low` to 1 above `high`."""
    ramp = np.clip((value - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _interpolate(grid: Field, u: Field, v: Field) -> Field:
    """Interpolate a periodic grid with cubic easing between its knots."""
    floor_u, floor_v = np.floor(u), np.floor(v)
    ease_u, ease_v = u - floor_u, v - floor_v
    ease_u, ease_v = ease_u * ease_u * (3 - 2 * ease_u), ease_v * ease_v * (3 - 2 * ease_v)
    i, j = floor_u.astype(np.int32) % _GRID, floor_v.astype(np.int32) % _GRID
    right, below = (i + 1) % _GRID, (j + 1) % _GRID
    top = grid[j, i] + (grid[j, right] - grid[j, i]) * ease_u
    bottom = grid[below, i] + (grid[below, right] - grid[below, i]) * ease_u
    return top + (bottom - top) * ease_v
