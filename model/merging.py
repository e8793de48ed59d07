"""Mask-wise merging (paper, section 3.5 and algorithm 1): masks and class probabilities to one panoptic map.

Unlike the paper's text, things keep at least 0.6 and stuff 0.8 of their area, there is no minimum area, and a
mask's quality counts one pixel more than it has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import cxcywh_to_xyxy
from model.network.outputs import PanopticOutput

Size = tuple[int, int]
CHUNK = 4  # masks resized at a time: keeps the full-size floats in the processor's cache


@dataclass(frozen=True)
class MergingSettings:
    """Published values for ResNet; PVTv2-B5 and Swin-L use a score threshold of 0.3."""

    score_threshold: float = 0.25
    mask_threshold: float = 0.5
    alpha: float = 1.0
    """Exponent of the class probability in the score."""
    beta: float = 2.0
    """Exponent of the mask quality in the score."""
    overlap_things: float = 0.4
    """A thing with a larger share of its area already taken is left out."""
    overlap_stuff: float = 0.2


@dataclass(frozen=True)
class PictureSizes:
    """(height, width) of one picture: of its padded batch, of its part without padding, and as it was read."""

    batch: Size
    valid: Size
    original: Size


@dataclass(frozen=True)
class PredictedSegment:
    """One segment of the panoptic map."""

    id: int
    label: int  # things 0..T-1, stuff T..T+S-1
    score: float  # class probability^alpha x mask quality^beta; may exceed 1
    area: int  # pixels in the map
    is_thing: bool


@dataclass(frozen=True)
class Instances:
    """All selected thing queries of one picture, best score first, before merging."""

    masks: npt.NDArray[np.bool_]  # (N, H, W)
    boxes_xyxy: npt.NDArray[np.float32]  # (N, 4) pixels of the original picture
    labels: npt.NDArray[np.int64]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,)


@dataclass(frozen=True)
class PanopticPrediction:
    """Result for one picture, at its original size."""

    ids: npt.NDArray[np.int32]  # (H, W) 0 = void, else the id of a segment
    segments: tuple[PredictedSegment, ...]  # ids 1..n, best score first
    instances: Instances


@dataclass(frozen=True)
class _Candidates:
    masks: Tensor  # (N, H, W) bool
    scores: Tensor  # (N,)
    labels: Tensor  # (N,)


@torch.no_grad()
def predict_panoptic(
    output: PanopticOutput,
    sizes: Sequence[PictureSizes],
    settings: MergingSettings,
    crop_padding: bool = True,
) -> tuple[PanopticPrediction, ...]:
    """Panoptic maps of a batch.

    Args:
        output: of the network.
        sizes: of each picture of the batch.
        settings: thresholds.
        crop_padding: False resizes masks with their padding, as the published code does. That is wrong for
            padded pictures and only serves to compare with it.
    """
    return tuple(_predict_picture(output, index, size, settings, crop_padding) for index, size in enumerate(sizes))


def _predict_picture(
    output: PanopticOutput, index: int, sizes: PictureSizes, settings: MergingSettings, crop_padding: bool
) -> PanopticPrediction:
    chosen = output.selection.valid[index]
    queries, labels, probabilities = (
        part[index, chosen] for part in (output.selection.indices, output.selection.labels, output.selection.scores)
    )
    num_things, num_stuff = output.location.class_logits.shape[-1], output.stuff_logits.shape[-1]
    stuff_labels = torch.arange(num_things, num_things + num_stuff, device=labels.device)
    stuff_probabilities = output.stuff_logits[-1, index].sigmoid()
    masks = torch.cat((output.things.masks[-1, index, chosen], output.stuff.masks[-1, index])).float()
    if crop_padding:
        masks = _crop(masks, sizes)
    segmented, quality = segment_masks(masks, sizes.original, settings.mask_threshold)
    class_probabilities = torch.cat((probabilities, stuff_probabilities)).float()
    candidates = _Candidates(
        segmented,
        class_probabilities**settings.alpha * quality**settings.beta,
        torch.cat((labels, stuff_labels)),
    )
    ids, segments = merge(candidates.masks, candidates.scores, candidates.labels, num_things, settings)
    boxes = pixel_boxes(output.location.boxes_cxcywh[-1, index, queries], sizes)
    return PanopticPrediction(ids, segments, _instances(candidates, boxes))


def segment_masks(masks: Tensor, size: Size, threshold: float) -> tuple[Tensor, Tensor]:
    """Resize masks (N, h, w) and cut them at the threshold.

    Returns:
        Where each mask is above the threshold (N, H, W) bool, and its quality (N,): the sum of its values
        there, over their number plus one.
    """
    segmented = torch.empty((len(masks), *size), dtype=torch.bool, device=masks.device)
    quality = masks.new_empty(len(masks))
    for start in range(0, len(masks), CHUNK):
        part = slice(start, start + CHUNK)
        values = F.interpolate(masks[None, part], size=size, mode="bilinear", align_corners=False)[0]
        torch.gt(values, threshold, out=segmented[part])
        inside = (values * segmented[part]).flatten(1).sum(1)
        quality[part] = inside / (segmented[part].flatten(1).sum(1) + 1)
    return segmented, quality


def merge(
    masks: Tensor, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]:
    """Lay masks on one map, best score first; each gets the pixels that are still free.

    Args:
        masks: (N, H, W) bool.
        scores: (N,).
        labels: (N,) things 0..num_things-1, stuff from there on.
        num_things: number of thing classes.
        settings: thresholds.
    """
    ids = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    segments: list[PredictedSegment] = []
    for position in _best_first(scores, settings.score_threshold):
        mask = masks[position]
        label = int(labels[position])
        is_thing = label < num_things
        free = mask & (ids == 0)
        area, free_area = int(mask.sum()), int(free.sum())
        allowed = settings.overlap_things if is_thing else settings.overlap_stuff
        if free_area == 0 or (area - free_area) / area > allowed:
            continue
        ids[free] = len(segments) + 1
        segments.append(PredictedSegment(len(segments) + 1, label, float(scores[position]), free_area, is_thing))
    return ids.numpy(force=True), tuple(segments)


def _best_first(scores: Tensor, threshold: float) -> Iterator[int]:
    for position in scores.argsort(descending=True, stable=True).tolist():
        if scores[position] >= threshold:
            yield position


def _crop(masks: Tensor, sizes: PictureSizes) -> Tensor:
    """The masks' rows and columns that hold the picture, the last ones perhaps in part."""
    height, width = masks.shape[-2:]
    rows = -(-height * sizes.valid[0] // sizes.batch[0])
    columns = -(-width * sizes.valid[1] // sizes.batch[1])
    return masks[:, :rows, :columns]


def pixel_boxes(boxes_cxcywh: Tensor, sizes: PictureSizes) -> Tensor:
    """Boxes 0..1 to xyxy pixels of the original picture, cut at its border."""
    height, width = sizes.original
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()).clamp(0, 1)
    return boxes * boxes.new_tensor([width, height, width, height])


def _instances(candidates: _Candidates, boxes: Tensor) -> Instances:
    """The things among the candidates, which come first there, ordered by score."""
    order = candidates.scores[: len(boxes)].argsort(descending=True, stable=True)
    return Instances(
        candidates.masks[order].numpy(force=True),
        boxes[order].numpy(force=True),
        candidates.labels[order].numpy(force=True),
        candidates.scores[order].numpy(force=True),
    )
