"""Naive inference: the baseline of the fast one, with the same results.

It runs the plain torch reference of the operator, makes all masks of all layers, and synchronizes for every mask that
it merges.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.inference.bit_masks import Size
from model.inference.merging import Merged, MergingSettings
from model.merging_reference import merge_masks, segment_masks
from model.network.outputs import PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import top_queries
from model.ops.backends import using


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
    return merge_masks(segmented, scores, labels, output.num_things, settings), segmented[order].numpy(force=True)
