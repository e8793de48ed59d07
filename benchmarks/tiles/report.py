"""The page of `benchmarks.tiles`."""

from collections.abc import Mapping
from dataclasses import dataclass

from panoptic.markdown import markdown_page, markdown_table


@dataclass(frozen=True)
class Quality:
    """PQ of all, thing and stuff categories, in percent."""

    all: float
    things: float
    stuff: float


@dataclass(frozen=True)
class TilesReport:
    """Qualities by width and method."""

    images: int
    tile: int
    overlap: int
    qualities: Mapping[str, Mapping[str, Quality]]


def tiles_page(report: TilesReport) -> str:
    """Render the qualities, a row for every width and method."""
    how = (
        f"Written by `python -m benchmarks.tiles` with weights of `make run`. {report.images} drawn landscapes of each"
        f" width, with things at mini's scale, that were never trained on; all are {report.tile} pixels high, as mini's"
        f" images. Tiles are {report.tile} x {report.tile} pixels and overlap by {report.overlap} at least. *Whole* is"
        " the image at its own size, which the network was not trained at beyond 160 pixels; *whole, fitted* is shrunk"
        " until its longer side is 160 pixels, as the settings of mini say."
    )
    rows = [
        [width, method, *(f"{value:.1f}" for value in (quality.all, quality.things, quality.stuff))]
        for width, methods in report.qualities.items()
        for method, quality in methods.items()
    ]
    table = markdown_table(["width", "method", "PQ", "things", "stuff"], rows, labels=2)
    return markdown_page("# Tiles: panoptic quality of large images", how, table)
