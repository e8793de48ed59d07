"""Multi-scale deformable attention on an NVIDIA GPU: launches the programs of `model.ops.triton_programs`.

With `TRITON_INTERPRET=1` in the environment they run on the CPU, slowly: so the tests run them.

The deterministic backward pass adds the gradient of the values up in 64-bit fixed point, as integers give the same sum
in any order. The other way, to sort, would write and sort four rows of D numbers for every sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

from model.ops.operands import require_operands

OLDEST = (8, 0)  # compute capability that Triton supports
FIXED_POINT_BITS = 62


def unavailable() -> str | None:
    """Reason why this backend cannot be used; None if it can."""
    if find_spec("triton") is None:
        return "triton is not installed"
    import triton

    if triton.knobs.runtime.interpret:
        return None
    if not torch.cuda.is_available():
        return "there is no CUDA device, and TRITON_INTERPRET is not set"
    found = torch.cuda.get_device_capability()
    if found < OLDEST:
        return f"{torch.cuda.get_device_name()} has compute capability {found}, Triton needs {OLDEST}"
    return None


def forward(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum weighted bilinear samples.

    Args:
        value: (B, S, H, D).
        spatial_shapes: (height, width) of each of the L levels.
        level_start_index: the first token of each; one follows the other.
        sampling_locations: (B, Q, H, L, P, 2) xy, 0..1 over the whole level; what lies outside, or is no
            number, counts as zero.
        attention_weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D) in the type of `value`.

    Raises:
        ValueError: see `require_operands`.
    """
    from model.ops.triton_programs import tuned_forward

    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    operands = _Operands.of(value, sampling_locations, attention_weights)
    heights, widths = _levels(spatial_shapes)
    output = value.new_empty(operands.batch, operands.queries, operands.heads * operands.dim)
    if output.numel():
        with torch.cuda.device(value.get_device()):
            tuned_forward[operands.grid](
                *operands.tensors, output, heights, widths, *operands.runtime_sizes, **operands.compiled_sizes
            )
    return output


def backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of `forward`'s three tensors, in their types.

    Args:
        grad: (B, Q, H * D), of the output.
        value, spatial_shapes, level_start_index, sampling_locations, attention_weights: see `forward`.
        deterministic: make the gradient of the values the same bits in every run. Where `grad` or a weight is not
            finite, all of it becomes NaN.

    Raises:
        ValueError: see `require_operands`.
    """
    from model.ops.triton_programs import BLOCKS_AND_WARPS, backward_program, tuned_backward

    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights, grad)
    operands = _Operands.of(value, sampling_locations, attention_weights)
    heights, widths = _levels(spatial_shapes)
    grad = grad.contiguous()
    to_locations, to_weights = (torch.zeros_like(part) for part in operands.tensors[1:])
    if not grad.numel():
        return torch.zeros_like(value), to_locations, to_weights
    sums = torch.zeros(value.shape, dtype=torch.int64 if deterministic else operands.sum_type, device=value.device)
    unit = _fixed_point_unit(grad, operands) if deterministic else None
    arguments = (
        grad,
        *operands.tensors,
        sums,
        to_locations,
        to_weights,
        unit,
        heights,
        widths,
        *operands.runtime_sizes,
    )
    with torch.cuda.device(value.get_device()):
        if unit is None:
            tuned_backward[operands.grid](*arguments, **operands.compiled_sizes)
        else:  # always the same block, as the sums over channels depend on it
            block, warps = BLOCKS_AND_WARPS[0]
            backward_program[operands.grid](*arguments, **operands.compiled_sizes, BLOCK=block, num_warps=warps)
            sums = sums / unit
    return sums.to(value.dtype), to_locations, to_weights


@dataclass(frozen=True)
class _Operands:
    """Contiguous tensors and sizes of a launch."""

    tensors: tuple[Tensor, Tensor, Tensor]  # values, locations, weights
    sum_type: torch.dtype

    @classmethod
    def of(cls, *tensors: Tensor) -> "_Operands":
        value, locations, weights = (tensor.contiguous() for tensor in tensors)
        return cls((value, locations, weights), torch.float64 if value.dtype == torch.float64 else torch.float32)

    @property
    def batch(self) -> int:
        return self.tensors[0].shape[0]

    @property
    def heads(self) -> int:
        return self.tensors[0].shape[2]

    @property
    def dim(self) -> int:
        return self.tensors[0].shape[3]

    @property
    def queries(self) -> int:
        return self.tensors[1].shape[1]

    def grid(self, chosen: Mapping[str, int]) -> tuple[int]:
        """Number of programs: one per block of queries, head and image."""
        return (self.batch * self.heads * -(-self.queries // chosen["BLOCK"]),)

    @property
    def runtime_sizes(self) -> tuple[int, int, int]:
        """Tokens and queries per image, and the bit length of the number of queries, for the autotuner."""
        return self.tensors[0].shape[1], self.queries, (self.batch * self.queries).bit_length()

    @property
    def compiled_sizes(self) -> dict[str, object]:
        """Constants that a kernel is compiled for."""
        from triton import language, next_power_of_2

        levels, points = self.tensors[2].shape[3:]
        return {
            "HEADS": self.heads,
            "DIM": self.dim,
            "LANES": next_power_of_2(self.dim),
            "LEVELS": levels,
            "POINTS": points,
            "SUM": language.float64 if self.sum_type == torch.float64 else language.float32,
        }


def _levels(shapes: Sequence[Sequence[int]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Heights and widths, as the programs expect them."""
    return tuple(float(height) for height, _ in shapes), tuple(float(width) for _, width in shapes)


def _fixed_point_unit(grad: Tensor, operands: _Operands) -> Tensor:
    """Fixed-point unit: the largest power of two with which no sum can overflow, as a float64 that is not read here.

    A query adds to a token at most once per point, and at most the product of the largest factors.
    """
    weights = operands.tensors[2]
    largest = grad.abs().amax().double() * weights.abs().amax().double()
    bound = largest * (operands.queries * weights.shape[-1])
    unit = torch.exp2((FIXED_POINT_BITS - torch.frexp(bound).exponent).double())
    return torch.where(bound.isfinite(), unit, torch.nan)
