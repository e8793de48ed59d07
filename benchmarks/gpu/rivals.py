"""Implementations of deformable attention to compare: ours, classic kernels, and those of others where installed."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

from benchmarks.gpu import classic_cuda
from benchmarks.operator.cases import Case
from model.ops import backends, mmcv
from model.ops.ms_deform_attn import level_starts, ms_deform_attn

OURS, CLASSIC = "ours, float32", "classic, float32"
HUB_KERNEL = "kernels-community/deformable-detr"
_IMAGES_AT_ONCE = 64  # `im2col_step` of Hugging Face's layers
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class MissingRivalError(ValueError):
    """An implementation that cannot run here; says why."""


@dataclass(frozen=True)
class Implementation:
    """A forward pass of (value, locations, weights), and a backward pass if it is not torch's autograd's."""

    attend: Attend
    gradients: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None = None

    def run(self, operands: tuple[Tensor, Tensor, Tensor], backward: bool) -> tuple[Tensor, ...]:
        """Return the output, and the gradients of the operands if `backward`, whose output gradient is the output."""
        if backward and self.gradients is None:
            output = self.attend(*operands)
            return output, *torch.autograd.grad(output, operands, output.detach())
        with torch.no_grad():
            output = self.attend(*operands)
            return output, *(self.gradients(output, *operands) if backward and self.gradients else ())


@dataclass(frozen=True)
class Rival:
    """An implementation by name, with the type of its values; locations, and weights unless said, are float32."""

    name: str
    dtype: torch.dtype
    load: Callable[[Case, torch.device], Implementation]
    weights_of_type: bool = False
    """Weights have the type of the values."""


def _ours(case: Case, device: torch.device) -> Implementation:
    name, starts = backends.choose(device.type), level_starts(case.shapes)

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        with backends.using(name):
            return ms_deform_attn(value, case.shapes, starts, locations, weights)

    return Implementation(attend)


def _classic(case: Case, _device: torch.device) -> Implementation:
    return _bare(classic_cuda.unavailable(), classic_cuda.forward, classic_cuda.backward, case)


def _mmcv(case: Case, _device: torch.device) -> Implementation:
    return _bare(mmcv.unavailable(), mmcv.forward, partial(mmcv.backward, deterministic=False), case)


def _bare(
    missing: str | None,
    forward: Callable[..., Tensor],
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]],
    case: Case,
) -> Implementation:
    if missing:
        raise MissingRivalError(missing)
    starts = level_starts(case.shapes)

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return forward(value, case.shapes, starts, locations, weights)

    def gradients(grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return backward(grad, value, case.shapes, starts, locations, weights)

    return Implementation(attend, gradients)


def _deformops(backend: str, case: Case, device: torch.device) -> Implementation:
    if find_spec("deformops") is None:
        raise MissingRivalError(
            "deformops is not installed: pip install deformops==3.0.1, which needs Python 3.12 or 3.13; this is"
            f" {platform.python_version()}"
        )
    registry = import_module("deformops.registry")
    chosen, (shapes, starts) = registry.Backend(backend), _levels(case, device)

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        output: Tensor = registry.msda(value, shapes, starts, locations, weights, backend=chosen)
        return output

    return Implementation(attend)


def _hub_kernel(case: Case, device: torch.device) -> Implementation:
    if find_spec("kernels") is None:
        raise MissingRivalError(f"the package kernels, which loads {HUB_KERNEL}, is not installed")
    kernel = import_module("kernels").get_kernel(HUB_KERNEL, version=1)  # the version that transformers asks for
    return _layer(kernel.layers.MultiScaleDeformableAttention(), case, device)


def _grid_sample(case: Case, device: torch.device) -> Implementation:
    return _layer(MultiScaleDeformableAttention(), case, device)


def _layer(layer: nn.Module, case: Case, device: torch.device) -> Implementation:
    shapes, starts = _levels(case, device)

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        output: Tensor = layer(value, shapes, list(case.shapes), starts, locations, weights, _IMAGES_AT_ONCE)
        return output

    return Implementation(attend)


def _levels(case: Case, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(case.shapes, device=device), torch.tensor(level_starts(case.shapes), device=device)


RIVALS = (
    Rival(OURS, torch.float32, _ours),
    Rival("ours, bfloat16", torch.bfloat16, _ours),
    Rival(CLASSIC, torch.float32, _classic),
    Rival("deformops (Triton), float32", torch.float32, partial(_deformops, "triton")),
    Rival("deformops (Triton), bfloat16", torch.bfloat16, partial(_deformops, "triton"), weights_of_type=True),
    Rival("deformops (CUDA), float32", torch.float32, partial(_deformops, "cuda")),
    Rival("deformops (CUDA), bfloat16", torch.bfloat16, partial(_deformops, "cuda"), weights_of_type=True),
    Rival("Hugging Face kernel, float32", torch.float32, _hub_kernel),
    Rival("mmcv, float32", torch.float32, _mmcv),
    Rival("transformers (grid_sample), float32", torch.float32, _grid_sample),
)
