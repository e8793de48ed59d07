"""Settings of a training run; the defaults are those of the published 12-epoch run of Panoptic SegFormer."""

from dataclasses import dataclass, field

from model.device import PRECISIONS
from model.training.criterion import LossWeights
from panoptic.data.transforms import AugmentationSettings
from panoptic.runtime.settings import NO_INFLUENCE

PUBLISHED_STEP = 8


@dataclass(frozen=True)
class TrainSettings:
    """The `train` section of params.yaml.

    `batch_size` is the number of images per optimizer step over all processes; `images_per_forward` is the size of the
    micro-batches in which each process takes its shard of them through the network, accumulating gradients.
    """

    seed: int = 0
    epochs: int = 12
    batch_size: int = 8
    images_per_forward: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1.4e-4
    muon_learning_rate: float = 0.02
    backbone_multiplier: float = 0.1
    sampling_multiplier: float = 0.1
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    schedule: str = "step"
    step_epochs: list[int] | None = None
    """Epochs from which the schedule `step` divides the rate by 10; None: [8] in a run that is longer, else none."""
    warmup_steps: int = 0
    ema_decay: float = 0.0
    precision: str = "float32"
    """float32, as published; bfloat16, for everything but boxes and losses; auto: bfloat16 on GPUs that support it."""
    initial_weights: str = "imagenet"
    """imagenet (backbone only), random, or a file: a trained network with the same settings, or a backbone."""
    deep_supervision: bool = True
    """True puts a loss on every block of the mask decoders, False on their final masks only."""
    activation_checkpointing: bool = field(default=False, metadata=NO_INFLUENCE)
    """True recomputes the layers of encoder and decoders in the backward pass, which saves memory."""
    workers: int = field(default=2, metadata=NO_INFLUENCE)
    log_every: int = field(default=20, metadata=NO_INFLUENCE)
    save_every: int = field(default=1000, metadata=NO_INFLUENCE)
    validate_every: int = field(default=5000, metadata=NO_INFLUENCE)
    losses: LossWeights = field(default_factory=LossWeights)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        """Reject values that cannot be trained with."""
        for name in (
            "epochs",
            "batch_size",
            "images_per_forward",
            "log_every",
            "save_every",
            "validate_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; give at least 1")
        for name in ("seed", "warmup_steps", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; give at least 0")
        for name, choices in {
            "optimizer": ("adamw", "muon"),
            "schedule": ("step", "cosine"),
            "precision": PRECISIONS,
        }.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"train.{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"train.ema_decay is {self.ema_decay}; give 0 (off) up to, not including, 1")
        for name in ("learning_rate", "muon_learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; give a number above 0")
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
