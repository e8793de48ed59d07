"""Fractions of attention inside ground truth masks, added up by image and averaged over segments, with intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.explanation.estimates import Resamples
from panoptic.evaluation.scores import Array
from panoptic.report.explained import Layer, LayerCurve


class CurveName(NamedTuple):
    """The part of the network that attends or samples, and the group of segments, `things` or `stuff`."""

    part: str
    group: str


@dataclass(frozen=True)
class SegmentFractions:
    """Of one segment: the fraction of the image that it covers, and that of attention inside it, (layers, heads)."""

    curve: CurveName
    layers: tuple[str, ...]
    area: float
    inside: Array


@dataclass(frozen=True)
class _Sums:
    """Sums over the segments of one image; zero where it has none."""

    segments: float
    area: float
    inside: Array


def layer_curves(images: Sequence[Iterable[SegmentFractions]], resamples: Resamples) -> tuple[LayerCurve, ...]:
    """Average the fractions of all images, which are in the order of the resamples, by curve."""
    found = [list(fractions) for fractions in images]
    first = {one.curve: one for fractions in found for one in fractions}
    return tuple(
        _curve(example, [_sums(fractions, example) for fractions in found], resamples)
        for _, example in sorted(first.items())
    )


def _sums(fractions: Sequence[SegmentFractions], example: SegmentFractions) -> _Sums:
    own = [one for one in fractions if one.curve == example.curve]
    inside = sum((one.inside for one in own), np.zeros_like(example.inside))
    return _Sums(len(own), sum(one.area for one in own), inside)


def _curve(example: SegmentFractions, images: Sequence[_Sums], resamples: Resamples) -> LayerCurve:
    counts = np.array([image.segments for image in images], np.float64)
    inside = np.stack([image.inside for image in images])
    layers = [
        Layer(
            name,
            resamples.mean(by_head.mean(axis=1), counts),
            tuple(resamples.mean(sums, counts) for sums in by_head.T),
        )
        for name, by_head in zip(example.layers, inside.swapaxes(0, 1), strict=True)
    ]
    area = resamples.mean(np.array([image.area for image in images]), counts)
    return LayerCurve(*example.curve, int(counts.sum()), area, tuple(layers))
