"""Settings of a training run; the defaults are those of the published 12-epoch run of Panoptic SegFormer."""

from dataclasses import dataclass, field
from typing import Annotated

from model.device import PRECISIONS
from model.training.criterion import LossWeights
from model.training.matcher import MASK_MATCHING, MatchCosts
from panoptic.data.transforms import AugmentationSettings
from panoptic.runtime.ranges import (
    BatchSize,
    Count,
    Factor,
    Name,
    OneOf,
    PartialFraction,
    PositiveCount,
    PositiveFactor,
    Seed,
    Within,
    require_ranges,
)
from panoptic.runtime.settings import NO_INFLUENCE

PUBLISHED_STEP = 8


@dataclass(frozen=True)
class TrainSettings:
    """The `train` section of params.yaml.

    `batch_size` is the number of images per optimizer step over all processes; `images_per_forward` is the size of the
    micro-batches in which each process takes its shard of them through the network, accumulating gradients.
    """

    seed: Seed = 0
    epochs: Annotated[int, Within(1, 100_000)] = 12
    batch_size: BatchSize = 8
    images_per_forward: BatchSize = 1
    optimizer: Annotated[str, OneOf(("adamw", "muon"))] = "adamw"
    learning_rate: PositiveFactor = 1.4e-4
    muon_learning_rate: PositiveFactor = 0.02
    backbone_multiplier: Factor = 0.1
    sampling_multiplier: Factor = 0.1
    weight_decay: Factor = 1e-4
    clip_norm: PositiveFactor = 0.1
    schedule: Annotated[str, OneOf(("step", "cosine"))] = "step"
    step_epochs: list[int] | None = None
    """Epochs from which the schedule `step` divides the rate by 10; None: [8] in a run that is longer, else none."""
    warmup_steps: Count = 0
    ema_decay: PartialFraction = 0.0
    """0 is off."""
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"
    """float32, as published; bfloat16, for everything but boxes and losses; auto: bfloat16 on GPUs that support it."""
    initial_weights: Name = "imagenet"
    """imagenet (backbone only), random, or a file: a trained network with the same settings, or a backbone."""
    deep_supervision: bool = True
    """True puts a loss on every block of the mask decoders, False on their final masks only."""
    activation_checkpointing: bool = field(default=False, metadata=NO_INFLUENCE)
    """True recomputes the layers of encoder and decoders in the backward pass, which saves memory."""
    workers: Annotated[int, Within(0, 1024)] = field(default=2, metadata=NO_INFLUENCE)
    log_every: PositiveCount = field(default=20, metadata=NO_INFLUENCE)
    save_every: PositiveCount = field(default=1000, metadata=NO_INFLUENCE)
    validate_every: PositiveCount = field(default=5000, metadata=NO_INFLUENCE)
    losses: LossWeights = field(default_factory=LossWeights)
    mask_matching: MatchCosts = field(default_factory=lambda: MASK_MATCHING)
    """Costs of the only matching where the mask decoder classifies; version 1 prints those of class and mask alone."""
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        """Reject values that cannot be trained with."""
        require_ranges(self, "train")
        if self.schedule == "step":
            self._require_steps_within_run()

    def _require_steps_within_run(self) -> None:
        steps = self.rate_steps
        if steps != sorted(set(steps)) or not all(0 < epoch < self.epochs for epoch in steps):
            raise ValueError(
                f"train.step_epochs is {steps}, but train.epochs is {self.epochs}; give ascending epochs between 0 and "
                f"{self.epochs}, each once, or [] for a constant rate"
            )

    @property
    def rate_steps(self) -> list[int]:
        """Epochs from which the schedule `step` divides the learning rate by 10 each."""
        if self.step_epochs is None:
            return [PUBLISHED_STEP] if self.epochs > PUBLISHED_STEP else []
        return self.step_epochs
