"""The network families by name, as in `NetworkConfig.family`; all follow `model.network.segmenter.Segmenter`.

Panoptic SegFormer, with the baselines DETR and D-DETR-MS among its options, is the papers'; the others are built from
the modules of transformers, which is imported only when one of them is.
"""

from collections.abc import Callable, Mapping
from importlib import import_module

from model.network.config import NetworkConfig
from model.network.segmenter import Segmenter

FAMILIES: Mapping[str, tuple[str, str]] = {
    "panoptic_segformer": ("model.network.panoptic_segformer", "PanopticSegFormer"),
    "maskformer": ("model.network.families.maskformer", "MaskFormer"),
    "mask2former": ("model.network.families.mask2former", "Mask2Former"),
    "eomt": ("model.network.families.eomt", "Eomt"),
}
"""Module and class of each family."""


def build_network(config: NetworkConfig, num_things: int, num_stuff: int) -> Segmenter:
    """Build a network of the family `config.family` with random weights, in training mode.

    Raises:
        ValueError: unknown family or size, or a dataset with classes that the family cannot have.
    """
    if config.family not in FAMILIES:
        raise ValueError(f"model.family is {config.family!r}; expected one of {', '.join(FAMILIES)}")
    module, name = FAMILIES[config.family]
    build: Callable[[NetworkConfig, int, int], Segmenter] = getattr(import_module(module), name)
    return build(config, num_things, num_stuff)
