"""The objective of a micro-batch, which every network family turns into its own loss terms.

It carries the counts of the whole optimizer step, so that the sum over its micro-batches does not depend on how a step
is divided, and Panoptic SegFormer's terms, whose settings are those of a training.
"""

from dataclasses import dataclass

from torch import Tensor

from model.network.outputs import PanopticOutput
from model.network.queries import QuerySelector
from model.training.batch import Target
from model.training.criterion import LossWeights, SegmentCounts, panoptic_losses
from model.training.matcher import MASK_MATCHING, MatchCosts, MatchedQueries


@dataclass(frozen=True)
class BatchObjective:
    """The objective of one micro-batch; see `model.network.segmenter.Objective`."""

    targets: tuple[Target, ...]
    counts: SegmentCounts  # of the whole optimizer step
    weights: LossWeights
    deep_supervision: bool = True
    mask_matching: MatchCosts = MASK_MATCHING

    @property
    def per_segment(self) -> float:
        """Normalizer of sums over the segments of matched queries."""
        return self.counts.per_thing

    @property
    def image_fraction(self) -> float:
        """Images of this micro-batch as a fraction of those in the whole step."""
        return len(self.targets) * self.counts.per_image

    @property
    def matched(self) -> QuerySelector:
        """Selects the queries of the first matching."""
        return MatchedQueries(self.targets)

    def panoptic_losses(self, output: PanopticOutput) -> dict[str, Tensor]:
        """Compute the terms of Panoptic SegFormer."""
        return panoptic_losses(
            output, self.targets, self.counts, self.weights, self.deep_supervision, self.mask_matching
        )
