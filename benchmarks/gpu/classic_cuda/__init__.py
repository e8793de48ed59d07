"""Multi-scale deformable attention as CUDA kernels have computed it since Deformable DETR: the baseline to beat.

Our own plain port of the scheme of one thread per number of the output (kernels.cu), in float32 as mmcv's. NVRTC
compiles it at run time through torch, which needs CUDA's headers (CUDA_HOME) but no host compiler.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.cpp_extension import CUDA_HOME

THREADS = 1024
Kernel = Callable[..., None]


class ClassicKernelError(ValueError):
    """Operands that the classic kernels do not take."""


def unavailable() -> str | None:
    """Return why the classic kernels cannot be used; None if they can."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if CUDA_HOME is None:
        return "CUDA's headers are not found; set CUDA_HOME"
    if not hasattr(torch.cuda, "_compile_kernel"):
        return f"torch {torch.__version__} does not offer NVRTC; torch 2.9 is the first that does"
    return None


def forward(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Compute `model.ops.triton_kernels.forward`, for contiguous float32 tensors only."""
    _require_float32(value, sampling_locations, attention_weights)
    batch, tokens, heads, channels = value.shape
    queries, levels, points = sampling_locations.shape[1], *attention_weights.shape[3:]
    output = value.new_empty(batch, queries, heads * channels)
    shapes, starts = _levels(tuple(spatial_shapes), tuple(level_start_index), value.device)
    _kernel("forward")(
        grid=(-(-output.numel() // THREADS), 1, 1),
        block=(THREADS, 1, 1),
        args=[
            *(value, shapes, starts, sampling_locations, attention_weights, output),
            *(output.numel(), tokens, heads, channels, levels, queries, points),
        ],
    )
    return output


def backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `model.ops.triton_kernels.backward`, for contiguous float32 tensors only."""
    _require_float32(grad, value, sampling_locations, attention_weights)
    batch, tokens, heads, channels = value.shape
    queries, levels, points = sampling_locations.shape[1], *attention_weights.shape[3:]
    to_value = torch.zeros_like(value)
    to_locations, to_weights = torch.empty_like(sampling_locations), torch.empty_like(attention_weights)
    shapes, starts = _levels(tuple(spatial_shapes), tuple(level_start_index), value.device)
    _kernel("backward")(
        grid=(batch * queries * heads, 1, 1),
        block=(channels, 1, 1),
        args=[
            *(grad, value, shapes, starts, sampling_locations, attention_weights, to_value, to_locations, to_weights),
            *(tokens, heads, levels, queries, points),
        ],
        shared_mem=3 * channels * value.element_size(),
    )
    return to_value, to_locations, to_weights


def _require_float32(*tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.dtype != torch.float32 or not tensor.is_contiguous():
            raise ClassicKernelError(f"the classic kernels take contiguous float32, not {tensor.dtype}; convert first")


@cache
def _kernel(name: str) -> Kernel:
    kernel: Kernel = torch.cuda._compile_kernel(
        Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8"), name
    )
    return kernel


@cache
def _levels(
    shapes: tuple[tuple[int, int], ...], starts: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    return torch.tensor(shapes, device=device), torch.tensor(starts, device=device)
