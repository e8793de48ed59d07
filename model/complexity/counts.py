"""Parameters and multiply-adds of a network that is never computed: it is built without memory for its weights."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from model.complexity.modules import counting_modules
from model.complexity.operators import counting_operators
from model.network.config import NetworkConfig
from model.network.families import build_network
from model.network.segmenter import Segmenter


@dataclass(frozen=True)
class MacCounts:
    """Multiply-adds of one image, by part of the network (`backbone`, `neck`, ...)."""

    modules: Mapping[str, int]  # by the papers' count
    products: Mapping[str, int]  # all convolutions and matrix products
    sampling: Mapping[str, int]  # of deformable attention; not among the products


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters by part of the network."""

    all: Mapping[str, int]
    trainable: Mapping[str, int]


def meta_network(config: NetworkConfig, num_things: int, num_stuff: int) -> Segmenter:
    """Make a network of shapes without values, in evaluation mode."""
    with torch.device("meta"):
        network = build_network(config, num_things, num_stuff)
    return network.eval().to("meta")  # transformers makes a parameter on the CPU in any case


def count_macs(network: Segmenter, width: int, height: int) -> MacCounts:
    """Count one forward pass with everything that inference needs, on the device of the network."""
    device = next(network.parameters()).device
    images = torch.zeros(1, 3, height, width, device=device)
    # With gradients: without them torch's counter cannot follow views of a parameter.
    with torch.enable_grad(), counting_modules(network) as modules, counting_operators(network) as operators:
        network.segment(images, auxiliary=True)
    products = operators.products
    if products["query_classes"]:  # the mask head calls the classifier, which torch counts for both
        products["query_masks"] -= products["query_classes"]
    return MacCounts(dict(modules), dict(products), dict(operators.sampling))


def count_parameters(network: Segmenter) -> ParameterCounts:
    """Count every parameter once, under the part that holds it."""
    total: Counter[str] = Counter()
    trainable: Counter[str] = Counter()
    for name, parameter in network.named_parameters():
        part = name.split(".")[0]
        total[part] += parameter.numel()
        trainable[part] += parameter.numel() if parameter.requires_grad else 0
    return ParameterCounts(dict(total), dict(trainable))
