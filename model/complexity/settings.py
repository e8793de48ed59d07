"""Settings of the complexity stage."""

from dataclasses import dataclass, field

from model.published import PUBLISHED

CONFIGURED = "configured"
"""Row name of the network that the `model` section describes."""


@dataclass(frozen=True)
class ComplexitySettings:
    """The `complexity` section of params.yaml: models by their names in `model.published`, sizes (width, height).

    Multiply-adds of all `models` are counted without computing anything; only `latency_models` are run, at each of
    `latency_sizes`. The defaults suit a laptop.
    """

    models: list[str] = field(default_factory=lambda: [CONFIGURED, *PUBLISHED])
    flops_size: list[int] = field(default_factory=lambda: [1200, 800])
    latency_models: list[str] = field(default_factory=lambda: [CONFIGURED, "r50"])
    latency_sizes: list[list[int]] = field(default_factory=lambda: [[160, 128]])
    repeats: int = 10

    def __post_init__(self) -> None:
        """Refuse unknown models and impossible sizes."""
        for size in (self.flops_size, *self.latency_sizes):
            if len(size) != 2 or min(size) < 1:
                raise ValueError(f"complexity: {size} is not the size of an image; give [width, height] in pixels")
        if self.repeats < 1:
            raise ValueError(f"complexity.repeats is {self.repeats}; give at least 1")
        for name in ("models", "latency_models"):
            unknown = [model for model in getattr(self, name) if model not in (CONFIGURED, *PUBLISHED)]
            if unknown:
                known = ", ".join((CONFIGURED, *PUBLISHED))
                raise ValueError(f"complexity.{name}: there is no model {', '.join(unknown)}; choose from {known}")
        missing = [model for model in self.latency_models if model not in self.models]
        if missing:
            raise ValueError(f"complexity.latency_models: {', '.join(missing)} should be among complexity.models too")
