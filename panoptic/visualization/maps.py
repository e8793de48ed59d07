"""Maps of weights and sampled points over an image, in rows of small panels."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.visualization.panels import mount

Panel = NDArray[np.uint8]
POINT_COLORS = ((230, 159, 0), (86, 180, 233), (0, 200, 140), (240, 228, 66))
"""Of the levels of a feature pyramid, finest first; as distinguishable with color blindness (Okabe and Ito)."""
SIDE = 192
_DIMMED, _LINE, _MARK = 0.45, (255, 70, 70), (255, 255, 255)
_LARGEST = 5.0  # radius in pixels of a point with all the weight of its level and head


class Grid:
    """Panels of one image, added row by row."""

    def __init__(self, pixels: NDArray[np.uint8], side: int = SIDE) -> None:
        """Scale an image (H,W,3) RGB to the size of a panel, `image`, whose longer side is given."""
        scale = side / max(pixels.shape[:2])
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        self.image: Panel = np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
        self._rows: list[Mapping[str, Panel]] = []

    def add(self, row: Mapping[str, Panel]) -> None:
        """Add a row of panels by title."""
        self._rows.append(row)

    def drawn(self) -> NDArray[np.uint8]:
        """Mount the rows."""
        return mount(self._rows)


def outline(image: Panel, mask: NDArray[np.bool_]) -> Panel:
    """Dim a panel outside of a mask (H,W) of the image, whatever its size, and draw its outline."""
    height, width = image.shape[:2]
    fractions = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    inside = (fractions >= 0.5).astype(np.uint8)
    drawn: Panel = np.where(inside[..., None] > 0, image, np.rint(image * _DIMMED)).astype(np.uint8)
    found, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, found, -1, _LINE, 1, cv2.LINE_AA)
    return drawn


def shaded(image: Panel, weights: NDArray[np.float32], largest: float = 0.0) -> Panel:
    """Lay weights (h,w) over a panel, from dark for 0 to bright for the largest of them, or for `largest` if above."""
    height, width = image.shape[:2]
    enlarged = np.asarray(cv2.resize(weights, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    scaled = np.clip(enlarged / max(float(enlarged.max()), largest, 1e-30), 0, 1)
    levels = np.rint(255 * np.sqrt(scaled)).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(colors, 0.7, gray, 0.3, 0), np.uint8)


def pointed(
    image: Panel,
    points: NDArray[np.float32],
    weights: NDArray[np.float32],
    origin: tuple[float, float],
) -> Panel:
    """Draw points (levels,N,2), xy of 0..1, in the color of their level and with an area in proportion to their weight.

    `origin` is marked by a cross: where the sampling starts from. Points outside of the image are not seen.
    """
    height, width = image.shape[:2]
    drawn: Panel = np.rint(image * 0.6).astype(np.uint8)
    colors = [POINT_COLORS[level % len(POINT_COLORS)] for level in range(len(points)) for _ in points[level]]
    flat, sizes = points.reshape(-1, 2), weights.reshape(-1)
    for number in np.argsort(-sizes, kind="stable").tolist():
        x, y = flat[number].tolist()
        radius = max(1, round(_LARGEST * float(np.sqrt(sizes[number] / max(float(sizes.max()), 1e-12)))))
        if 0 <= x <= 1 and 0 <= y <= 1:
            center = int(x * width), int(y * height)
            cv2.circle(drawn, center, radius, colors[number], cv2.FILLED, cv2.LINE_AA)
    center = int(origin[0] * width), int(origin[1] * height)
    cv2.drawMarker(drawn, center, _MARK, cv2.MARKER_CROSS, 11, 1, cv2.LINE_AA)
    return drawn
