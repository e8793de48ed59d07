"""Turn a network's output into panoptic maps and instances at the original size of each image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.boxes import cxcywh_to_xyxy
from model.inference.bit_masks import BitMasks, Size, segment_masks
from model.inference.merging import Candidates, MergingSettings, PredictedSegment, merge
from model.network.outputs import PanopticOutput
from panoptic.data.target import mask_boxes


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of one image as (height, width): of its padded batch, of its part without padding, and as read."""

    batch: Size
    valid: Size
    original: Size


@dataclass(frozen=True)
class Instances:
    """All selected things of one image before merging, best score first; the merging method does not matter."""

    bits: BitMasks  # N of them
    boxes_xyxy: npt.NDArray[np.float32]  # (N, 4) pixels of the original image; of the mask where none is predicted
    labels: npt.NDArray[np.int64]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) class probability^alpha x mask quality^beta

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """Masks (N, H, W), unpacked only on request: panoptic results do not need them."""
        return self.bits.unpack()


@dataclass(frozen=True)
class PanopticPrediction:
    """Result for one image, at its original size."""

    ids: npt.NDArray[np.int32]  # (H, W) 0 = void, else the id of a segment
    segments: tuple[PredictedSegment, ...]  # ids 1..n, best score first
    instances: Instances
    queries: Tensor | None  # (candidates, C) float32 on the host; None where the network's output lacks them

    def embedding(self, segment: PredictedSegment) -> npt.NDArray[np.float32] | None:
        """Vector (C,) of the query that stands for a segment; for stuff of several masks, of its best one."""
        return None if self.queries is None else self.queries[segment.candidate].numpy()


@torch.no_grad()
def predict_panoptic(
    output: PanopticOutput,
    sizes: Sequence[ImageSizes],
    settings: MergingSettings,
    crop_padding: bool = True,
) -> tuple[PanopticPrediction, ...]:
    """Predict the panoptic maps of a batch from its output.

    Args:
        output: of the network.
        sizes: of each image of the batch.
        settings: method and thresholds.
        crop_padding: False resizes masks with their padding, as the published code does. That is wrong for
            padded images and only serves to compare with it.
    """
    return tuple(_predict_image(output, index, size, settings, crop_padding) for index, size in enumerate(sizes))


def _predict_image(
    output: PanopticOutput, index: int, sizes: ImageSizes, settings: MergingSettings, crop_padding: bool
) -> PanopticPrediction:
    masks, labels, probabilities = _found(output, index)
    if crop_padding:
        masks = _crop(masks, sizes)
    inside, quality = segment_masks(masks, sizes.original, settings.mask_threshold)
    labels, probabilities = labels.cpu(), probabilities.cpu()
    scores = probabilities**settings.alpha * quality**settings.beta
    candidates = Candidates(masks, inside, labels, probabilities, scores, output.num_things)
    ids, segments = merge(candidates, settings)
    return PanopticPrediction(
        ids, segments, _instances(output, index, candidates, sizes), _candidate_queries(output, index)
    )


def _found(output: PanopticOutput, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (N, h, w), labels and probabilities of the selected queries, then of the stuff classes with own queries."""
    chosen = output.selection.valid[index]
    labels, probabilities, mask_indices = (
        part[index, chosen]
        for part in (output.selection.labels, output.selection.scores, output.selection.mask_indices)
    )
    masks = output.query_masks.masks[-1, index, mask_indices]
    if output.stuff is not None and output.stuff_logits is not None:
        stuff_labels = output.num_things + torch.arange(output.stuff_logits.shape[-1], device=labels.device)
        labels = torch.cat((labels, stuff_labels))
        probabilities = torch.cat((probabilities, output.stuff_logits[-1, index].sigmoid()))
        masks = torch.cat((masks, output.stuff.masks[-1, index]))
    return masks.float(), labels, probabilities.float()


def _candidate_queries(output: PanopticOutput, index: int) -> Tensor | None:
    """States (candidates, C) of the queries that `_found` takes masks of, after the last layer that changed them."""
    if not output.location.queries.numel():
        return None
    states = selected_queries(output)[index, output.selection.valid[index]]
    if output.stuff is not None:
        states = torch.cat((states, output.stuff.queries[-1, index]))
    return states.float().cpu()


def selected_queries(output: PanopticOutput) -> Tensor:
    """States (B, N, C) of the selected queries, after the last layer that changed them."""
    selection, refined = output.selection, output.query_masks.queries
    states, indices = refined[-1] if len(refined) else output.location.queries, selection.indices
    if len(refined) and output.query_class_logits is None:
        indices = selection.mask_indices
    return states.gather(1, indices[..., None].expand(-1, -1, states.shape[-1]))


def _crop(masks: Tensor, sizes: ImageSizes) -> Tensor:
    """Keep the rows and columns of the masks that the image covers, at least in part."""
    height, width = masks.shape[-2:]
    rows = -(-height * sizes.valid[0] // sizes.batch[0])
    columns = -(-width * sizes.valid[1] // sizes.batch[1])
    return masks[:, :rows, :columns]


def pixel_boxes(boxes_cxcywh: Tensor, sizes: ImageSizes) -> Tensor:
    """Convert boxes in 0..1 to xyxy pixels of the original image, clipped to it."""
    height, width = sizes.original
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()).clamp(0, 1)
    return boxes * boxes.new_tensor([width, height, width, height])


def _instances(output: PanopticOutput, index: int, candidates: Candidates, sizes: ImageSizes) -> Instances:
    """Collect the things among the selected queries, ordered by score."""
    labels, scores = candidates.labels, candidates.scores
    queries = output.selection.indices[index, output.selection.valid[index]].cpu()
    things = (labels[: len(queries)] < output.num_things).nonzero()[:, 0]
    order = things[scores[things].argsort(descending=True, stable=True)]
    predicted = output.location.boxes
    chosen = candidates.inside[order.numpy()]
    if len(predicted) > 0 and predicted.shape[-1] == 4:
        boxes = pixel_boxes(predicted[-1, index].cpu()[queries[order]], sizes).numpy()
    else:
        boxes = mask_boxes(chosen.unpack())
    return Instances(chosen, boxes, labels[order].numpy(), scores[order].numpy())
