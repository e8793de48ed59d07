"""Small networks, targets and outputs for the tests of training."""

from dataclasses import replace

import torch
from torch import Tensor

from model.boxes import xyxy_to_cxcywh
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.batch import Batch, Target
from tests.model.network.tiny_network import STUFF, THINGS, TINY

NETWORK = replace(TINY, backbone_norm="group")
"""Group norm, because the tests compare one batch with its parts."""


def network(config: NetworkConfig = NETWORK) -> PanopticSegFormer:
    """Make a small network with seeded initial weights."""
    torch.manual_seed(0)
    return PanopticSegFormer(config, THINGS, STUFF)


def random_target(generator: torch.Generator, things: int, size: tuple[int, int] = (64, 64)) -> Target:
    """Make a target of rectangular things on two halves of stuff."""
    height, width = size
    low = torch.rand(things, 2, generator=generator) * 0.5
    boxes = torch.cat([low, low + 0.25 + torch.rand(things, 2, generator=generator) * 0.25], 1)
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    masks = _between(columns, boxes[:, 0], boxes[:, 2])[:, None] & _between(rows, boxes[:, 1], boxes[:, 3])[:, :, None]
    upper = (rows < 0.5)[:, None].expand(height, width)
    free = ~masks.any(0)
    return make_target(
        masks,
        torch.randint(0, THINGS, (things,), generator=generator),
        xyxy_to_cxcywh(boxes),
        torch.stack([upper & free, ~upper & free]),
        torch.arange(STUFF),
    )


def make_target(masks: Tensor, labels: Tensor, boxes: Tensor, stuff_masks: Tensor, stuff_labels: Tensor) -> Target:
    """Make a target for an image without padding, with centers of mass and areas computed from the masks."""
    height, width = masks.shape[1:]
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    weights = masks.float() / masks.sum((1, 2), keepdim=True)
    areas = masks.sum((1, 2)) / (height * width)
    moments = torch.stack([weights.sum(1) @ columns, weights.sum(2) @ rows, areas], 1)
    return Target(masks.bool(), labels, boxes, moments, stuff_masks.bool(), stuff_labels)


def random_batch(seed: int, things: tuple[int, ...], size: tuple[int, int] = (64, 64)) -> Batch:
    """Make a batch with one image for every number of things in `things`."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(len(things), 3, *size, generator=generator)
    targets = tuple(random_target(generator, count, size) for count in things)
    return Batch(images, (size,) * len(things), targets, tuple(range(len(things))))


def assert_same_batch(found: Batch, expected: Batch) -> None:
    """Assert that all tensors are equal to the last bit."""
    assert (found.image_sizes, found.image_ids) == (expected.image_sizes, expected.image_ids)
    assert torch.equal(found.images, expected.images)
    for one, other in zip(found.targets, expected.targets, strict=True):
        for name, value in vars(other).items():
            assert vars(one)[name].dtype == value.dtype
            assert torch.equal(vars(one)[name], value)


def _between(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (values >= low[:, None]) & (values < high[:, None])
