"""From observed images to an explanation: every part measures each image, and draws those that are asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.explanation.attention import draw_attention, measure_attention
from model.explanation.curves import SegmentFractions, layer_curves
from model.explanation.estimates import Resamples
from model.explanation.observing import ObservedImage
from model.explanation.parts import ATTENTION, EARLY_EXIT, MERGING, PREFERENCE, SAMPLING, left_out
from model.explanation.preference import FoundByQuery, count_findings, preference_of_queries
from model.explanation.sampling import draw_sampling, measure_sampling
from model.explanation.settings import ExplainSettings
from model.inference.merging import PredictedSegment
from model.network.config import NetworkConfig
from panoptic.io.errors import shown_ids
from panoptic.report.explained import Drawing, Explanation
from panoptic.visualization import write_png

Measure = Callable[[ObservedImage], Iterator[SegmentFractions]]
Draw = Callable[[ObservedImage, PredictedSegment], NDArray[np.uint8]]
_MEASURES: Mapping[str, Measure] = {ATTENTION: measure_attention, SAMPLING: measure_sampling}
_DRAWINGS: Mapping[str, Draw] = {ATTENTION: draw_attention, SAMPLING: draw_sampling}


class Explainer:
    """Collects the parts of an explanation image by image."""

    def __init__(self, config: NetworkConfig, settings: ExplainSettings, folder: Path) -> None:
        """Draw into `folder`, which is made with the first drawing."""
        self._config, self._settings, self._folder = config, settings, folder
        self._left_out = dict(left_out(config))
        self._images = 0
        self._fractions: list[list[SegmentFractions]] = []
        self._findings: list[FoundByQuery] = []
        self._drawings: dict[int, list[Drawing]] = {}
        self._empty: list[str] = []

    def add(self, image: ObservedImage, number: int | None = None) -> None:
        """Measure an image that has ground truth, and draw it if it has a number among those to draw."""
        self._images += 1
        if image.evaluation is not None:
            measures = [measure for part, measure in _MEASURES.items() if part not in self._left_out]
            self._fractions.append([one for measure in measures for one in measure(image)])
            self._findings.append(count_findings(image))
        if number is not None:
            self._drawings[number] = list(self._draw(image, number))
            self._empty += [] if image.prediction.segments else [image.name]

    def result(self) -> Explanation:
        """Return the numbers of all images, and the drawings in the order of their numbers."""
        resamples, reasons = Resamples(len(self._findings), self._settings.bootstrap), self._left_out
        if self._empty:
            found_nothing = f"no segments were found in {len(self._empty)} images ({shown_ids(self._empty, 3)})"
            reasons = reasons | {"drawings": found_nothing}
        preference = None
        if not self._findings:
            unknown = f"needs ground truth, which none of the {self._images} images has"
            reasons = (
                {f"numbers of {part}": unknown for part in _MEASURES}
                | dict.fromkeys((PREFERENCE, MERGING, EARLY_EXIT), unknown)
                | reasons
            )
        elif PREFERENCE not in reasons:
            preference = preference_of_queries(self._findings, self._config, resamples)
        return Explanation(
            images=self._images,
            with_ground_truth=len(self._findings),
            curves=layer_curves(self._fractions, resamples),
            preference=preference,
            left_out=reasons,
            drawings=[drawing for _, drawings in sorted(self._drawings.items()) for drawing in drawings],
        )

    def _draw(self, image: ObservedImage, number: int) -> Iterator[Drawing]:
        """Draw the largest segments of an image, each with every part that applies."""
        for rank, segment in enumerate(image.largest(self._settings.segments), start=1):
            name = image.categories.category_of(segment.label).name
            caption = f"{name}, score {segment.score:.2f}, query {segment.query}"
            for part, draw in _DRAWINGS.items():
                if part not in self._left_out:
                    file = f"{number:03}-{rank:02}-{part}.png"
                    write_png(self._folder / file, draw(image, segment))
                    yield Drawing(part, file, image.name, caption)


def describe(explanation: Explanation) -> Iterable[str]:
    """Yield lines for people: how much was measured and drawn, and what was left out."""
    images = "1 image" if explanation.images == 1 else f"{explanation.images} images"
    yield (
        f"{images} explained, {explanation.with_ground_truth} of them against ground truth; "
        f"{len(explanation.drawings)} drawings"
    )
    for part, reason in explanation.left_out.items():
        yield f"left out: {part}: {reason}"
