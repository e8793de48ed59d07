"""The papers' count of multiply-adds: mmcv's `get_model_complexity_info`, which sees modules only.

It counts convolutions, linear layers, norms, ReLUs and pooling, a multiply-add as one. It does not see functions:
matrix products of attention, `nn.MultiheadAttention`, GELU, softmax, sampling, resizing. Where our network computes
something in another way than the published modules, it is counted as they would be.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from model.network.layers import FeedForward
from model.network.mask_decoder import MaskReader
from model.network.outputs import Shapes
from model.network.segmenter import Segmenter

BOX_HEAD_CALLS = 2
"""Version 2 evaluates the box head of every location layer twice: to refine, and to report beside the class."""


@contextmanager
def counting_modules(network: Segmenter) -> Iterator[Counter[str]]:
    """Count the forward passes within, by part of the network (`backbone`, `neck`, ...)."""
    counts: Counter[str] = Counter()
    handles = [
        module.register_forward_hook(partial(_count, counts, name.split(".")[0], _published_calls(name, network)))
        for name, module in network.named_modules()
        if name
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def module_macs(module: nn.Module, inputs: tuple[object, ...], output: object) -> int:
    """Return the multiply-adds of one call of a module, without those of the modules inside it."""
    match module, inputs, output:
        case nn.Conv2d(), _, Tensor():
            kernel = math.prod(module.kernel_size) * module.in_channels // module.groups
            return output.numel() * (kernel + (module.bias is not None))
        case nn.Linear(), (Tensor() as values, *_), _:
            return values.numel() * module.out_features
        case nn.BatchNorm2d() | nn.GroupNorm() | nn.LayerNorm(), (Tensor() as values, *_), _:
            return values.numel() * (1 if module.weight is None else 2)
        case nn.ReLU() | nn.MaxPool2d() | nn.AdaptiveAvgPool2d(), (Tensor() as values, *_), _:
            return values.numel()
        case FeedForward(), (Tensor() as states, *_), _:  # its ReLU
            return states.numel() // module.expand.in_features * module.expand.out_features
        case MaskReader(), (Tensor() as queries, Tensor() as tokens, tuple() as shapes), _:
            return _mask_branch_macs(module, queries, tokens, shapes)
    return 0


def _mask_branch_macs(module: MaskReader, queries: Tensor, tokens: Tensor, shapes: Shapes) -> int:
    """Count the join of the levels as published: a ReLU per level, and a linear layer with ReLU after resizing."""
    height, width = shapes[0]
    masks = queries.shape[0] * queries.shape[1]
    return masks * (tokens.shape[1] * module.heads + height * width * (module.join.in_features + 1))


def _published_calls(name: str, network: Segmenter) -> int:
    config = network.config
    twice = config.attention == "deformable" and config.classes_from == "location"
    return BOX_HEAD_CALLS if twice and name.startswith("location_decoder.place_heads.") else 1


def _count(
    counts: Counter[str], part: str, calls: int, module: nn.Module, inputs: tuple[object, ...], output: object
) -> None:
    counts[part] += calls * module_macs(module, inputs, output)
