"""Comparison of a computed array with a recorded one, which is full or subsampled."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.official_parity.forward import Forward
from model.network.layers import inverse_sigmoid
from model.network.outputs import Memory

Array = npt.NDArray[np.number]
Steps = tuple[int, ...]
"""Possible sampling steps of a recording along one axis."""
ALL: Steps = (1,)

# At least 1.5 times the largest error that `benchmarks.official_parity.study` finds over threads, backends and kernels.
ATOL = 3e-4
BACKBONE_ATOL = 1e-5  # 1e-3 would hide a wrong eps or another GELU
BOX_ATOL = 5e-5  # relative to the image size
PIXEL_ATOL = 1e-2  # 3e-5 of the largest image size
FRACTION_ATOL = 1e-3  # 99.9 % of the pixels


@dataclass(frozen=True)
class Check:
    """Outcome for one recorded array, or for one type of number in it."""

    name: str
    error: float  # the largest
    tolerance: float
    remark: str = ""

    @property
    def passed(self) -> bool:
        """True if the error is within the tolerance, which NaN is not."""
        return self.error <= self.tolerance


def compare(name: str, actual: Tensor | Array, recorded: Array, atol: float, remark: str = "") -> Check:
    """Check the largest absolute difference; an empty recording fails, as nothing would be compared."""
    ours = np.asarray(actual)
    if ours.shape != recorded.shape:
        return Check(name, float("inf"), atol, f"recorded {recorded.shape}, computed {ours.shape}")
    if not recorded.size:
        return Check(name, float("inf"), atol, f"recorded {recorded.shape}, which holds no values")
    difference = np.abs(ours.astype(np.float64) - recorded.astype(np.float64))
    return Check(name, float(difference.max()), atol, remark)


def compare_sampled(name: str, full: Tensor, recorded: Array, steps: Sequence[Steps], atol: float) -> Check:
    """Compare with the recorded subset of a full array, whose sampling steps follow from the recording's shape."""
    if full.ndim != recorded.ndim:
        return Check(name, float("inf"), atol, f"recorded {recorded.shape}, computed {tuple(full.shape)}")
    taken = []
    for size, count, choices in zip(full.shape, recorded.shape, steps, strict=True):
        fitting = [step for step in choices if -(-size // step) == count]
        if not fitting:
            expected = f"every {' or '.join(map(str, choices))}"
            return Check(
                name, float("inf"), atol, f"recorded {recorded.shape}, {expected} of {tuple(full.shape)} expected"
            )
        taken.append(slice(None, None, fitting[0]))
    return compare(name, full[tuple(taken)], recorded, atol)


def compare_stats(name: str, parts: Sequence[Tensor], recorded: Array, atol: float) -> Check:
    """Compare mean, unbiased standard deviation, mean absolute value, extremes and L2 norm of each part.

    The norm is divided by the root of the number of values, so that errors of `atol` everywhere change it by `atol`.
    """
    ours = np.array([_stats(part) for part in parts])
    theirs = np.atleast_2d(np.array(recorded, dtype=np.float64))
    if ours.shape != theirs.shape:
        return Check(name, float("inf"), atol, f"recorded {theirs.shape}, computed {ours.shape}")
    roots = np.sqrt([part.numel() for part in parts])
    ours[:, -1] /= roots
    theirs[:, -1] /= roots
    return compare(name, ours, theirs, atol)


def _stats(values: Tensor) -> list[float]:
    x = values.double()
    return [part.item() for part in (x.mean(), x.std(), x.abs().mean(), x.min(), x.max(), x.norm())]


QUERIES = (1, 10)


def check_network(name: str, recorded: Array, forward: Forward) -> Check | None:
    """Compare a recorded array of the whole batch; return None for any other array."""
    for pattern, check in _CHECKS.items():
        match = re.fullmatch(pattern, name)
        if match:
            return check(match, recorded, forward)
    return None


def _backbone(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    feature = forward.features[int(match[1])]
    if match[2] == "stats":
        return compare_stats(match[0], [feature], recorded, BACKBONE_ATOL)
    steps = (ALL, (max(1, feature.shape[1] // 16),), (7,), (7,))
    return compare_sampled(match[0], feature, recorded, steps, BACKBONE_ATOL)


def _neck(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    level = forward.levels[int(match[1])]
    if match[2] == "shape":
        return compare(match[0], np.array(level.shape), recorded, 0)
    if match[2] == "stats":
        return compare_stats(match[0], [level], recorded, ATOL)
    return compare_sampled(match[0], level, recorded, (ALL, (16,), (5,), (5,)), ATOL)


def _memory(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    memory = forward.output.memory
    values: Mapping[str, Tensor] = {
        "": memory.tokens,
        "pos_": memory.position,
        "valid_": memory.tokens[~_padding_mask(memory)],
    }
    if match[2] == "stats":
        return compare_stats(match[0], [values[match[1]]], recorded, ATOL)
    return compare_sampled(match[0], values[match[1]], recorded, (ALL, (29 if match[1] else 17,), (16,)), ATOL)


def _padding_mask(memory: Memory) -> Tensor:
    """Return the mask (B, S), all False without padding."""
    none = torch.zeros(memory.tokens.shape[:2], dtype=torch.bool)
    return none if memory.padding_mask is None else memory.padding_mask


def _padding(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    mask = _padding_mask(forward.output.memory).numpy()
    return compare(match[0], np.array(mask.shape) if match[1] else np.packbits(mask), recorded, 0)


def _states(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    states = forward.output.location.states
    if match[1] == "stats":
        return compare_stats(match[0], list(states), recorded, ATOL)
    return compare_sampled(match[0], states, recorded, (ALL, ALL, (23,), (16,)), ATOL)


def _reference(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    reference = forward.output.location.initial_reference
    assert reference is not None
    return compare_sampled(match[0], reference, recorded, (ALL, QUERIES, ALL), BOX_ATOL)


def _location(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    """Compare class logits or boxes of all layers or of the last."""
    location = forward.output.location
    assert location.class_logits is not None
    values, atol = (location.class_logits, ATOL) if match[1] == "cls_scores" else (location.boxes, BOX_ATOL)
    if match[2] == "_last":
        return compare_sampled(match[0], values[-1], recorded, (ALL, QUERIES, ALL), atol)
    return compare_sampled(match[0], values, recorded, (ALL, ALL, QUERIES, ALL), atol)


def _entering(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    """Compare the boxes that enter the last layer, as logits."""
    entering = inverse_sigmoid(forward.output.location.boxes[-2])
    return compare_sampled(match[0], entering, recorded, (ALL, QUERIES, ALL), ATOL)


_CHECKS: Mapping[str, Callable[[re.Match[str], Array, Forward], Check]] = {
    r"backbone([0-2])_(stats|slice)": _backbone,
    r"neck([0-3])_(shape|stats|slice)": _neck,
    r"memory_(pos_|valid_|)(stats|slice)": _memory,
    r"memory_mask(_shape)?": _padding,
    r"hs_(stats|slice)": _states,
    r"init_reference": _reference,
    r"(cls_scores|bbox_preds)(_last|_q\d+|)": _location,
    r"reference_last_unsigmoid_slice": _entering,
}
