"""The content of the section about what is inside a network, and of the page of `panoptic explain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from panoptic.io.reading import read_file
from panoptic.report.explained import IMAGES, Drawing, Explanation, QueryPoint
from panoptic.report.explained_figures import curve_figures, preference_figure
from panoptic.report.figures import themed_svg
from panoptic.report.images import Panel, decode_drawn, make_panel

_SIDE = 1120  # pixels, at most


@dataclass(frozen=True)
class ExplainedImage:
    """An image and what was drawn of it, each with its caption."""

    name: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Inside:
    """An explanation with its charts and drawings."""

    explanation: Explanation
    charts: Mapping[str, Markup]
    images: Sequence[ExplainedImage]

    @property
    def precise(self) -> Sequence[QueryPoint]:
        """Return the queries that have a stuff precision."""
        points = self.explanation.preference.points if self.explanation.preference else ()
        return [point for point in points if point.precision is not None]


def inside_network(explanation: Explanation, folder: Path) -> Inside:
    """Draw the charts of an explanation, and read its drawings below its folder.

    Raises:
        DatasetError: a drawing is missing or damaged.
    """
    figures = curve_figures(explanation)
    if explanation.preference and explanation.preference.joint:
        figures["preference"] = preference_figure(explanation.preference)
    charts = {name: themed_svg(figure, f"inside-{name}") for name, figure in figures.items()}
    return Inside(explanation, charts, read_drawings(explanation.drawings, folder))


def read_drawings(drawings: Sequence[Drawing], folder: Path) -> list[ExplainedImage]:
    """Read the drawings below the folder of an explanation, by image. Raises `DatasetError` as above."""
    images = []
    for name, drawn in groupby(drawings, key=lambda drawing: drawing.title):
        panels = []
        for drawing in drawn:
            path = folder / IMAGES / drawing.file
            pixels = decode_drawn(read_file(path), str(path), stage="explain")
            panels.append(make_panel(f"{drawing.part}: {drawing.caption}", Image.fromarray(pixels), _SIDE))
        images.append(ExplainedImage(name, panels))
    return images
