"""The network families by name, as in `NetworkConfig.family`; all follow `model.network.segmenter.Segmenter`.

Panoptic SegFormer, with the baselines DETR and D-DETR-MS among its options, is the papers'; the others are built from
the modules of transformers. A family is imported when it is built, because those modules take seconds to import.
"""

from collections.abc import Callable, Mapping

from model.network.config import NetworkConfig
from model.network.segmenter import Segmenter

Family = Callable[[], Callable[[NetworkConfig, int, int], Segmenter]]
"""Imports the class of a family."""


def _panoptic_segformer() -> Callable[[NetworkConfig, int, int], Segmenter]:
    from model.network.panoptic_segformer import PanopticSegFormer

    return PanopticSegFormer


def _maskformer() -> Callable[[NetworkConfig, int, int], Segmenter]:
    from model.network.families.maskformer import MaskFormer

    return MaskFormer


def _mask2former() -> Callable[[NetworkConfig, int, int], Segmenter]:
    from model.network.families.mask2former import Mask2Former

    return Mask2Former


def _eomt() -> Callable[[NetworkConfig, int, int], Segmenter]:
    from model.network.families.eomt import Eomt

    return Eomt


FAMILIES: Mapping[str, Family] = {
    "panoptic_segformer": _panoptic_segformer,
    "maskformer": _maskformer,
    "mask2former": _mask2former,
    "eomt": _eomt,
}


def build_network(config: NetworkConfig, num_things: int, num_stuff: int) -> Segmenter:
    """Build a network of the family `config.family` with random weights, in training mode.

    Raises:
        ValueError: unknown family or size, or a dataset with classes that the family cannot have.
    """
    return _imported(config)(config, num_things, num_stuff)


def has_backbone(config: NetworkConfig) -> bool:
    """Tell whether networks of the family have a backbone, which they set when built; without, the class has None.

    Raises:
        ValueError: unknown family.
    """
    return not hasattr(_imported(config), "backbone")


def _imported(config: NetworkConfig) -> Callable[[NetworkConfig, int, int], Segmenter]:
    if config.family not in FAMILIES:
        raise ValueError(f"model.family is {config.family!r}; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[config.family]()
