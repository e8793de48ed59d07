"""Attention of every layer and head of the mask decoders (figure 6 of the CVPR paper, figure 5 of the arXiv one).

The attention of a query to the tokens of the three finest levels is the softmax of its scores. Masks are read from the
scores before it, by linear layers whose weights may have any sign: a mask may be where a head does not attend. The last
layer only reads masks, so its attention is shown and measured as in the others, but nothing uses it. Layers before read
masks for the losses of deep supervision; without these, what they read is untrained.

The numbers beside the maps are fractions inside the segment's ground truth mask: of attention, and of the mask that is
read, weighted by its values.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.explanation.curves import CurveName, SegmentFractions
from model.explanation.observing import ObservedImage
from model.inference.merging import PredictedSegment
from model.network.mask_decoder import MaskDecoder, finest_levels
from model.network.mask_heads import ClassifiedQueryMasks, StuffMaskDecoder
from model.network.outputs import Shapes
from model.network.panoptic_segformer import PanopticSegFormer
from panoptic.report.explained import ATTENTION, READ
from panoptic.visualization.maps import Grid, outline, shaded

LAST = "last"
"""Name of the layer that only reads masks."""


@dataclass(frozen=True)
class SegmentAttention:
    """Attention of the query of a segment in every layer, and the mask that the layer reads."""

    layers: tuple[str, ...]
    weights: Tensor  # (layers, heads, T), whose sum over the tokens of all levels is 1
    masks: Tensor  # (layers, h, w) of the finest level, not negative
    shapes: Shapes

    def maps(self) -> NDArray[np.float32]:
        """Return the attention on each pixel of the finest level, (layers, heads, h, w), which also sums to 1."""
        by_level = torch.split(self.weights, [height * width for height, width in self.shapes], dim=-1)
        height, width = self.shapes[0]
        total = torch.zeros(*self.weights.shape[:2], height, width)
        for weights, shape in zip(by_level, self.shapes, strict=True):
            maps = weights.reshape(*weights.shape[:2], *shape)
            spread = F.interpolate(maps, size=(height, width), mode="nearest-exact")
            total += spread * (maps.sum((-2, -1)) / spread.sum((-2, -1)).clamp(min=1e-12))[..., None, None]
        return np.asarray(total.numpy(), np.float32)

    def inside(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the fraction inside a mask (H, W) of the image, (layers, heads)."""
        fractions = (self.weights.double() * coverage(mask, self.shapes)).sum(-1)
        return np.asarray(fractions.numpy(), np.float64)

    def masks_inside(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the fraction of the masks' values that is inside a mask (H, W), (layers, 1); 0 for an empty mask."""
        values = self.masks.double().flatten(1)
        inside = (values * coverage(mask, self.shapes[:1])).sum(-1, keepdim=True)
        return np.asarray((inside / values.sum(-1, keepdim=True).clamp(min=1e-12)).numpy(), np.float64)


@torch.no_grad()
def segment_attention(image: ObservedImage, segment: PredictedSegment) -> SegmentAttention:
    """Compute the attention of the query that stands for a segment in every layer of its mask decoder."""
    decoder, candidate = _decoder(image, segment)
    tokens, shapes = finest_levels(image.recording.output.memory)
    tokens = tokens[image.position, None].float()
    readers = decoder.readers(image.settings.mask_layer)
    selection = image.recording.output.selection
    weights, masks = [], []
    for reader in readers:
        row = candidate
        if isinstance(decoder, ClassifiedQueryMasks) and reader is not readers[-1]:
            row = int(selection.indices[image.position, candidate])  # all queries attend, those selected are read
        attending = image.recording.attending[reader][image.position, row][None, None].float()
        read, scores = reader(attending, tokens, shapes)
        weights.append(scores[0, :, 0].softmax(-1))
        masks.append(read[0, 0])
    names = [LAST if reader is decoder.tail else str(number) for number, reader in enumerate(readers, start=1)]
    return SegmentAttention(tuple(names), torch.stack(weights).cpu(), torch.stack(masks).cpu(), shapes)


def measure_attention(image: ObservedImage) -> Iterator[SegmentFractions]:
    """Yield the fractions of attention, and of the masks read, inside the ground truth mask of every segment found."""
    for segment, mask in image.matched():
        attention = segment_attention(image, segment)
        group, area = "things" if segment.is_thing else "stuff", float(mask.mean())
        yield SegmentFractions(CurveName(ATTENTION, group), attention.layers, area, attention.inside(mask))
        yield SegmentFractions(CurveName(READ, group), attention.layers, area, attention.masks_inside(mask))


def draw_attention(image: ObservedImage, segment: PredictedSegment) -> NDArray[np.uint8]:
    """Draw the attention of a segment's query: a row for each layer, with every head, and the mask that is read."""
    attention = segment_attention(image, segment)
    grid = Grid(image.pixels)
    own = outline(grid.image, image.prediction.ids == segment.id)
    masks = np.asarray(attention.masks.numpy(), np.float32)
    for name, heads, mask in zip(attention.layers, attention.maps(), masks, strict=True):
        layer = "last layer" if name == LAST else f"layer {name}"
        shown = {"segment": own, f"{layer}: mean": shaded(grid.image, heads.mean(axis=0))}
        shown |= {f"head {number}": shaded(grid.image, head) for number, head in enumerate(heads, start=1)}
        shown["mask read"] = shaded(grid.image, mask)
        grid.add(shown)
    return grid.drawn()


def coverage(mask: NDArray[np.bool_], shapes: Shapes) -> Tensor:
    """Return the fraction of each token's cell that a mask (H, W) covers, (T,) float64."""
    pixels = torch.from_numpy(mask).double()[None, None]
    return torch.cat([F.interpolate(pixels, size=shape, mode="area").flatten() for shape in shapes])


def _decoder(image: ObservedImage, segment: PredictedSegment) -> tuple[MaskDecoder, int]:
    """Return the mask decoder that found a segment, and the query's number among those that it decoded."""
    network = image.network
    assert isinstance(network, PanopticSegFormer)
    if segment.candidate < image.found.selected:
        assert isinstance(network.query_masks, MaskDecoder)
        return network.query_masks, segment.candidate
    assert isinstance(network.stuff_masks, StuffMaskDecoder)
    return network.stuff_masks.decoder, segment.candidate - image.found.selected
