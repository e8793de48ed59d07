"""Sampling points of the deformable layers of encoder and location decoder, and the weight that they give to a segment.

A query of the location decoder stands for its segment; stuff with queries of its own has none there. In the encoder a
token samples for itself: the token of the finest level at the innermost point of a segment stands for it. The number
beside the points is the fraction of their weight that lies inside the segment's ground truth mask.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.explanation.curves import CurveName, SegmentFractions
from model.explanation.observing import ObservedImage
from model.inference.merging import PredictedSegment
from model.network.deformable import DeformableAttention
from model.network.panoptic_segformer import PanopticSegFormer
from panoptic.visualization.maps import SIDE, Grid, outline, pointed

ENCODER, LOCATION = "encoder", "location decoder"


@dataclass(frozen=True)
class SampledPoints:
    """Points of one query or token in all layers of a part of the network."""

    part: str
    points: NDArray[np.float32]  # (layers, heads, levels, points, 2) xy, 0..1 of the image
    weights: NDArray[np.float32]  # (layers, heads, levels, points), whose sum by head is 1
    origins: NDArray[np.float32]  # (layers, 2) the reference point, or center of the reference box

    def inside(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the fraction of weight inside a mask (H, W) of the image, (layers, heads)."""
        height, width = mask.shape
        columns, rows = np.moveaxis(np.floor(self.points * (width, height)).astype(np.int64), -1, 0)
        outside = (columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)
        hit = mask[rows.clip(0, height - 1), columns.clip(0, width - 1)] & ~outside
        found: NDArray[np.float64] = (self.weights.astype(np.float64) * hit).sum(axis=(-2, -1))
        return found


def segment_points(image: ObservedImage, segment: PredictedSegment, mask: NDArray[np.bool_]) -> list[SampledPoints]:
    """Compute the points of a segment's query, if it is one of the location decoder, and of a token inside a mask."""
    network = image.network
    assert isinstance(network, PanopticSegFormer)
    encoder = _attentions(network.encoder)
    shape = image.recording.sampling[encoder[0]].spatial_shapes[0]
    found = [_points(image, ENCODER, encoder, _innermost_token(mask, shape))]
    location = _attentions(network.location_decoder)
    if location and segment.candidate < image.found.selected:
        selection = image.recording.output.selection
        found.append(_points(image, LOCATION, location, int(selection.indices[image.position, segment.candidate])))
    return found


def measure_sampling(image: ObservedImage) -> Iterator[SegmentFractions]:
    """Yield the fractions of sampling weight inside the ground truth mask of every segment that was found."""
    for segment, mask in image.matched():
        for points in segment_points(image, segment, mask):
            name = CurveName(points.part, "things" if segment.is_thing else "stuff")
            layers = tuple(str(number) for number in range(1, len(points.points) + 1))
            yield SegmentFractions(name, layers, float(mask.mean()), points.inside(mask))


def draw_sampling(image: ObservedImage, segment: PredictedSegment) -> NDArray[np.uint8]:
    """Draw the points of a segment: a row for each part of the network, with the points of all heads in every layer."""
    own = image.prediction.ids == segment.id
    grid = Grid(image.pixels, 3 * SIDE // 2)
    for found in segment_points(image, segment, own):
        shown = {"segment": outline(grid.image, own)}
        layers = zip(found.points, found.weights, found.origins.tolist(), strict=True)
        for number, (points, weights, (x, y)) in enumerate(layers, start=1):
            by_level = points.swapaxes(0, 1).reshape(points.shape[1], -1, 2)
            sizes = weights.swapaxes(0, 1).reshape(weights.shape[1], -1)
            shown[f"{found.part} {number}"] = pointed(grid.image, by_level, sizes, (x, y))
        grid.add(shown)
    return grid.drawn()


@torch.no_grad()
def _points(image: ObservedImage, part: str, layers: list[DeformableAttention], row: int) -> SampledPoints:
    points, weights, origins = [], [], []
    for layer in layers:
        recorded = image.recording.sampling[layer]
        own = slice(image.position, image.position + 1), slice(row, row + 1)
        queries, references = recorded.queries[own].float(), recorded.references[own].float()
        sampled, weight = layer.sampling_points(queries, references, recorded.spatial_shapes)
        points.append(sampled[0, 0])
        weights.append(weight[0, 0])
        origins.append(references[0, 0, 0, :2])
    stacked = (torch.stack(parts).numpy(force=True) for parts in (points, weights, origins))
    return SampledPoints(part, *stacked)


def _attentions(part: torch.nn.Module) -> list[DeformableAttention]:
    return [module for module in part.modules() if isinstance(module, DeformableAttention)]


def _innermost_token(mask: NDArray[np.bool_], shape: tuple[int, int]) -> int:
    """Return the token of a level (h, w) at the pixel of a mask (H, W) that is farthest from its edge."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = divmod(int(depth.argmax()), mask.shape[1])
    height, width = shape
    token: int = y * height // mask.shape[0] * width + x * width // mask.shape[1]
    return token
