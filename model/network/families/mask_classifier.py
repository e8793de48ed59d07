"""What MaskFormer, Mask2Former and EoMT share: queries that each have a class and a mask (Cheng et al., NeurIPS 2021).

One set of queries finds things and stuff. Every layer of the decoder predicts, for each query, a class or that there is
no object, and the logits of a mask. Matching and losses are those of transformers, normalized like ours: mask terms by
the segments of the whole optimizer step, so that they do not depend on how a step is divided. The class term is a
weighted mean over a micro-batch, as published, and counts by the micro-batch's part of the step's images.
"""

from abc import abstractmethod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from model.network.config import NetworkConfig
from model.network.outputs import PanopticOutput
from model.network.queries import top_pairs
from model.network.segmenter import Objective, Segmenter

POINTS = 12_544
"""Published number of points at which Mask2Former and EoMT compare masks; of smaller masks, as many as pixels."""
Indices = list[tuple[Tensor, Tensor]]
"""Matched queries and segments of each image."""


class LayerPrediction(NamedTuple):
    """Predictions of one layer for Q queries and T classes."""

    states: Tensor  # (B, Q, C)
    class_logits: Tensor  # (B, Q, T + 1), the last of which means no object
    mask_logits: Tensor  # (B, Q, h, w)


class Criterion(Protocol):
    """The part of transformers' losses that is used here."""

    def matcher(self, masks: Tensor, classes: Tensor, mask_labels: list[Tensor], labels: list[Tensor]) -> Indices:
        """Match queries and segments."""

    def loss_masks(self, masks: Tensor, mask_labels: list[Tensor], indices: Indices, count: float) -> dict[str, Tensor]:
        """Compute `loss_mask` and `loss_dice`, sums over segments divided by `count`."""

    def loss_labels(self, classes: Tensor, labels: list[Tensor], indices: Indices) -> dict[str, Tensor]:
        """Compute `loss_cross_entropy`, the weighted mean over all queries."""


def initialize(parts: nn.Module, template: PreTrainedModel) -> None:
    """Give parts of a model of transformers the initial weights that `template`, an empty model, gives its own."""
    with torch.no_grad():
        parts.apply(template._init_weights)


class MaskClassifier(Segmenter):
    """A network whose forward pass returns the predictions of its decoder's layers, the last one being the result.

    Attributes:
        criterion: the family's losses in transformers.
        weights: published factors of the terms class, mask and dice.
    """

    criterion: Criterion
    weights: tuple[float, float, float]
    not_orthogonal = ("class_predictor", "embed", "quer", "token", "sampling_offsets", "attention_weights")
    has_boxes = False

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__()
        if not num_things + num_stuff:
            raise ValueError(f"the dataset has no categories; model.family {config.family!r} needs at least one")
        self.config = config
        self.num_things = num_things

    @abstractmethod
    def forward(self, images: Tensor) -> list[LayerPrediction]:
        """Predict with every layer; images are (B, 3, H, W) normalized, of any size."""

    def segment(self, images: Tensor, mask_layer: int = 0, auxiliary: bool = False) -> PanopticOutput:
        """Select the most probable pairs of query and class, best first; see `Segmenter.segment`."""
        predictions: list[LayerPrediction] = self(images)
        last = mask_layer - self.config.location_layers if mask_layer else 0
        states, class_logits, mask_logits = predictions[last - 1]
        probabilities = class_logits.float().softmax(-1)[..., :-1]
        scores, queries, labels = top_pairs(probabilities, self.config.selected_queries)
        masks = mask_logits.sigmoid().gather(1, queries[..., None, None].expand(-1, -1, *mask_logits.shape[-2:]))
        chosen = states.gather(1, queries[..., None].expand(-1, -1, states.shape[-1]))
        return PanopticOutput.of_masks(
            self.num_things, labels, scores, masks, chosen, indices=queries, total_queries=states.shape[1]
        )

    def losses(
        self, images: Tensor, image_sizes: tuple[tuple[int, int], ...], objective: Objective
    ) -> dict[str, Tensor]:
        """Compute class, mask and dice terms of every layer; padding is background. See `Segmenter.losses`."""
        predictions: list[LayerPrediction] = self(images)
        numbered = list(enumerate(predictions))
        mask_labels = [target.query_masks.float() for target in objective.targets]
        terms: dict[str, Tensor] = {}
        with torch.autocast(images.device.type, enabled=False):
            for layer, prediction in numbered if objective.deep_supervision else numbered[-1:]:
                found = self._terms(prediction, objective, mask_labels)
                terms |= {f"queries{layer}_{name}": term for name, term in found.items()}
        return terms

    def _terms(self, prediction: LayerPrediction, objective: Objective, mask_labels: list[Tensor]) -> dict[str, Tensor]:
        classes, masks = prediction.class_logits.float(), prediction.mask_logits.float()
        labels = [target.query_labels for target in objective.targets]
        for part in (self.criterion, self.criterion.matcher):
            if hasattr(part, "num_points"):
                part.num_points = min(POINTS, masks.shape[-2] * masks.shape[-1])
        indices = self.criterion.matcher(masks, classes, mask_labels, labels)
        found = self.criterion.loss_labels(classes, labels, indices)
        found |= self.criterion.loss_masks(masks, mask_labels, indices, 1 / objective.per_segment)
        class_weight, mask_weight, dice_weight = self.weights
        return {
            "class": class_weight * objective.image_fraction * found["loss_cross_entropy"],
            "mask": mask_weight * found["loss_mask"],
            "dice": dice_weight * found["loss_dice"],
        }
