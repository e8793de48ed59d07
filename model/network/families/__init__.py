"""The network families by name, as in `NetworkConfig.family`; all follow `model.network.segmenter.Segmenter`.

Panoptic SegFormer, with the baselines DETR and D-DETR-MS among its options, is the papers'; the others are built from
the modules of transformers. A family is imported when it is built, because those modules take seconds to import.
"""

from collections.abc import Callable, Mapping

from model.network.backbones import BACKBONES
from model.network.config import PANOPTIC_SEGFORMER, NetworkConfig
from model.network.segmenter import Segmenter

Build = Callable[[NetworkConfig, int, int], Segmenter]
"""The class of a family: a network from its sizes and the numbers of things and stuff."""


def _panoptic_segformer() -> Build:
    from model.network.panoptic_segformer import PanopticSegFormer

    return PanopticSegFormer


def _maskformer() -> Build:
    from model.network.families.maskformer import MaskFormer

    return MaskFormer


def _mask2former() -> Build:
    from model.network.families.mask2former import Mask2Former

    return Mask2Former


def _eomt() -> Build:
    from model.network.families.eomt import Eomt

    return Eomt


FAMILIES: Mapping[str, Callable[[], Build]] = {
    PANOPTIC_SEGFORMER: _panoptic_segformer,
    "maskformer": _maskformer,
    "mask2former": _mask2former,
    "eomt": _eomt,
}


def build_network(config: NetworkConfig, num_things: int, num_stuff: int) -> Segmenter:
    """Build a network of the family `config.family` with random weights, in training mode.

    Raises:
        ValueError: unknown family or size, or a dataset with classes that the family cannot have.
    """
    require_known(config)
    return FAMILIES[config.family]()(config, num_things, num_stuff)


def require_known(config: NetworkConfig) -> None:
    """Check that there are a family and a backbone of the names in `config`.

    Raises:
        ValueError: there are not.
    """
    for name, value, known in (("family", config.family, FAMILIES), ("backbone", config.backbone, BACKBONES)):
        if value not in known:
            raise ValueError(f"model.{name} is {value!r}; expected one of {', '.join(known)}")


def has_backbone(config: NetworkConfig) -> bool:
    """Tell whether networks of the family have a backbone, which they set when built; without, the class has None.

    Raises:
        ValueError: unknown family or backbone.
    """
    require_known(config)
    return not hasattr(FAMILIES[config.family](), "backbone")
