"""Settings of the complexity stage."""

from dataclasses import dataclass, field
from typing import Annotated

from model.published.models import PUBLISHED
from panoptic.runtime.ranges import Side, Within, require_ranges

CONFIGURED = "configured"
"""Row name of the network that the `model` section describes."""


@dataclass(frozen=True)
class ComplexitySettings:
    """The `complexity` section of params.yaml: models by their names in `model.published`, sizes (width, height).

    Multiply-adds of all `models` are counted without computing anything; only `latency_models` are run, at each of
    `latency_sizes`. The defaults suit a laptop.
    """

    models: list[str] = field(default_factory=lambda: [CONFIGURED, *PUBLISHED])
    flops_size: list[Side] = field(default_factory=lambda: [1200, 800])
    latency_models: list[str] = field(default_factory=lambda: [CONFIGURED, "r50"])
    latency_sizes: list[list[Side]] = field(default_factory=lambda: [[160, 128]])
    repeats: Annotated[int, Within(1, 1_000_000)] = 10

    def __post_init__(self) -> None:
        """Refuse unknown models and impossible sizes."""
        require_ranges(self, "complexity")
        for size in (self.flops_size, *self.latency_sizes):
            if len(size) != 2:
                raise ValueError(f"complexity: {size} is not the size of an image; give [width, height] in pixels")
        for name in ("models", "latency_models"):
            unknown = [model for model in getattr(self, name) if model not in (CONFIGURED, *PUBLISHED)]
            if unknown:
                known = ", ".join((CONFIGURED, *PUBLISHED))
                raise ValueError(f"complexity.{name}: there is no model {', '.join(unknown)}; choose from {known}")
        missing = [model for model in self.latency_models if model not in self.models]
        if missing:
            raise ValueError(f"complexity.latency_models: {', '.join(missing)} should be among complexity.models too")
