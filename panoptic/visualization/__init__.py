"""Figures for people: images with their segments in colors and by name."""

from panoptic.visualization.drawing import overlay, painted
from panoptic.visualization.panels import Segmentation, draw_panels, side_by_side, write_png

__all__ = ["Segmentation", "draw_panels", "overlay", "painted", "side_by_side", "write_png"]
