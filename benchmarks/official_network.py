"""Checks of the recorded arrays that hold intermediate results of the network."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.official_checks import (
    ALL,
    ATOL,
    BACKBONE_ATOL,
    BOX_ATOL,
    Array,
    Check,
    compare,
    compare_sampled,
    compare_stats,
)
from benchmarks.official_forward import Forward
from model.network.layers import inverse_sigmoid
from model.network.outputs import Memory

QUERIES = (1, 10)


def check_network(name: str, recorded: Array, forward: Forward) -> Check | None:
    """Compare one recorded array of the whole batch; None if its name is none of these."""
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
    """(B, S) bool, of no padding too."""
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
    """Class logits or boxes, of all layers or of the last."""
    location = forward.output.location
    assert location.class_logits is not None
    values, atol = (location.class_logits, ATOL) if match[1] == "cls_scores" else (location.places, BOX_ATOL)
    if match[2] == "_last":
        return compare_sampled(match[0], values[-1], recorded, (ALL, QUERIES, ALL), atol)
    return compare_sampled(match[0], values, recorded, (ALL, ALL, QUERIES, ALL), atol)


def _entering(match: re.Match[str], recorded: Array, forward: Forward) -> Check:
    """The boxes that enter the last layer, as logits."""
    entering = inverse_sigmoid(forward.output.location.places[-2])
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
