"""Naive inference: the baseline of the fast one, with the same results.

It runs the plain torch reference of the operator, makes all masks of all layers, and synchronizes for every mask that
it merges.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.inference.bit_masks import Size, resized
from model.inference.merging import MergingSettings, PredictedSegment
from model.network.outputs import PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import top_queries
from model.ops.backends import using

Merged = tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]


def forward(network: PanopticSegFormer, images: Tensor) -> PanopticOutput:
    """Run the network as in training, with the reference operator."""
    with using("reference"):
        output: PanopticOutput = network(images, None, top_queries(network.config.selected_queries))
    return output


def merge_output(output: PanopticOutput, size: Size, settings: MergingSettings) -> tuple[Merged, npt.NDArray[np.bool_]]:
    """Merge the only image of a network that selects its queries first; return the masks of all things too."""
    assert output.stuff is not None
    assert output.stuff_logits is not None
    things = output.query_masks.masks[-1, 0]
    masks = torch.cat((things, output.stuff.masks[-1, 0])).float()
    stuff_labels = output.num_things + torch.arange(len(masks) - len(things), device=masks.device)
    labels = torch.cat((output.selection.labels[0], stuff_labels))
    probabilities = torch.cat((output.selection.scores[0], output.stuff_logits[-1, 0].sigmoid())).float()
    segmented, quality = segment_masks(masks, size, settings.mask_threshold)
    scores = probabilities**settings.alpha * quality**settings.beta
    order = scores[: len(things)].argsort(descending=True, stable=True)
    return merge(segmented, scores, labels, output.num_things, settings), segmented[order].numpy(force=True)


def segment_masks(masks: Tensor, size: Size, threshold: float) -> tuple[Tensor, Tensor]:
    """Compute `model.inference.bit_masks.segment_masks` with a byte per pixel (N, H, W), on the masks' device."""
    segmented = torch.empty((len(masks), *size), dtype=torch.bool, device=masks.device)
    quality = masks.new_empty(len(masks))
    for part, values in resized(masks, size):
        torch.gt(values, threshold, out=segmented[part])
        inside = (values * segmented[part]).flatten(1).sum(1)
        quality[part] = inside / (segmented[part].flatten(1).sum(1) + 1)
    return segmented, quality


def merge(masks: Tensor, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings) -> Merged:
    """Compute `model.inference.merging.merge` of masks (N, H, W) bool, synchronizing several times per mask."""
    ids = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    segments: list[PredictedSegment] = []
    stuff_ids: dict[int, int] = {}
    for position in scores.argsort(descending=True, stable=True).tolist():
        if scores[position] < settings.score_threshold:
            continue
        mask = masks[position]
        label = int(labels[position])
        is_thing = label < num_things
        free = mask & (ids == 0)
        area, free_area = int(mask.sum()), int(free.sum())
        joined = stuff_ids.get(label)
        own_area = int((mask & (ids == joined)).sum()) if joined else 0
        allowed = settings.overlap_things if is_thing else settings.overlap_stuff
        if free_area == 0 or (area - free_area - own_area) / area > allowed:
            continue
        if joined:
            ids[free] = joined
            segments[joined - 1] = replace(segments[joined - 1], area=segments[joined - 1].area + free_area)
            continue
        ids[free] = len(segments) + 1
        segments.append(PredictedSegment(len(segments) + 1, label, float(scores[position]), free_area, is_thing))
        if not is_thing:
            stuff_ids[label] = len(segments)
    return ids.numpy(force=True), tuple(segments)
