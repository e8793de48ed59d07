"""Shows the backend of deformable attention on each device, why others are not available, and tests them all.

    python -m model.ops

Every backend that can run is compared with the reference; the exit status is 1 if one is further off than rounding
explains.
"""

import argparse
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from model.ops import backends, reference
from model.ops.backends import BACKENDS
from model.ops.operands import TYPES, level_starts
from panoptic.runtime.cli import run_command

_SHAPES = ((23, 31), (12, 16), (1, 1))
_BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Bounds of the largest difference from the reference in float64, as a fraction of its largest number."""


@dataclass(frozen=True)
class Differences:
    """Largest differences from the reference in float64, as fractions of its largest number."""

    dtype: torch.dtype
    forward: float
    gradients: float

    def sound(self) -> bool:
        """Tell whether rounding explains them."""
        return max(self.forward, self.gradients) <= _BOUNDS[self.dtype]  # false for NaN as well


def main() -> None:
    """Print the table; the exit status is 1 if a backend is wrong."""
    argparse.ArgumentParser(prog="python -m model.ops", description=__doc__.splitlines()[0]).parse_args()
    run_command(_test_all)


def _test_all() -> None:
    sound = True
    for device in ("cpu", "cuda"):
        if device == "cuda" and not torch.cuda.is_available():
            print("cuda: there is no such device here")
            continue
        print(f"{device}: {backends.choose(device)} is active")
        for name in BACKENDS:
            if reason := backends.why_not(name, device):
                print(f"  {name}: not available: {reason}")
                continue
            for differences in (self_test(name, device, dtype) for dtype in TYPES):
                sound = sound and differences.sound()
                print(f"  {name}: {_line(differences)}")
    if not sound:
        sys.exit(1)


def self_test(name: str, device: str, dtype: torch.dtype) -> Differences:
    """Compare one backend with the reference, including a level of one pixel and samples outside."""
    generator = torch.Generator().manual_seed(0)
    tokens = sum(height * width for height, width in _SHAPES)
    value = torch.randn(2, tokens, 4, 32, generator=generator).to(dtype)
    # Locations in steps of 1 / 64 pixel and not on a pixel: no rounding moves a sample across a kink of its gradient.
    sizes = torch.tensor([(width, height) for height, width in _SHAPES])[:, None]
    steps = torch.rand(2, 300, 4, len(_SHAPES), 4, 2, generator=generator) * 1.4 - 0.2
    locations = (((steps * sizes * 64).floor() + 0.5) / 64) / sizes
    weights = torch.rand(2, 300, 4, len(_SHAPES), 4, generator=generator)
    grad = torch.randn(2, 300, 128, generator=generator).to(dtype)
    found = _run(name, device, grad, value, locations, weights)
    exact = _run("reference", "cpu", *(tensor.double() for tensor in (grad, value, locations, weights)))
    fractions = [
        float((one.double().cpu() - other).abs().max() / other.abs().max())
        for one, other in zip(found, exact, strict=True)
    ]
    return Differences(dtype, fractions[0], max(fractions[1:]))


def _run(name: str, device: str, *tensors: Tensor) -> tuple[Tensor, ...]:
    grad, value, locations, weights = (tensor.to(device) for tensor in tensors)
    backend = reference if name == "reference" else backends.load(name)
    real = backends.compute_type(value)
    operands = value, _SHAPES, level_starts(_SHAPES), locations.to(real), weights.to(real)
    return backend.forward(*operands), *backend.backward(grad, *operands, deterministic=False)


def _line(differences: Differences) -> str:
    verdict = "ok" if differences.sound() else f"WRONG, more than {_BOUNDS[differences.dtype]:g}"
    dtype = str(differences.dtype).removeprefix("torch.")
    return f"{dtype:9} forward {differences.forward:.1e}, gradients {differences.gradients:.1e}: {verdict}"


if __name__ == "__main__":
    main()
