"""Settings of a training run; the defaults are the published 12-epoch run of Panoptic SegFormer."""

from dataclasses import dataclass, field

from model.training.criterion import LossWeights
from panoptic.data.transforms import AugmentationSettings


@dataclass(frozen=True)
class TrainSettings:
    """The `train` section of params.yaml.

    `batch_size` counts the images of one optimizer step over all processes; `images_per_forward` those that one
    process takes through the network at once. The difference is made up by gradient accumulation.
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
    step_epochs: list[int] = field(default_factory=lambda: [8])
    warmup_steps: int = 0
    ema_decay: float = 0.0
    precision: str = "auto"
    initial_weights: str = "imagenet"
    """imagenet: the backbone's; random; or a file: a trained network of the same settings, or a backbone."""
    deep_supervision: bool = True
    """Whether every block of the mask decoders is learnt, or their last masks alone."""
    activation_checkpointing: bool = False
    """Whether the layers of encoder and decoders are computed again in the backward pass, which saves memory."""
    workers: int = 2
    log_every: int = 20
    save_every: int = 1000
    validate_every: int = 5000
    losses: LossWeights = field(default_factory=LossWeights)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained with."""
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
            "precision": ("auto", "float32", "bfloat16"),
        }.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"train.{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"train.ema_decay is {self.ema_decay}; give 0 (off) up to, not including, 1")
        for name in ("learning_rate", "muon_learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; give a number above 0")
