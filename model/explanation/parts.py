"""The parts of an explanation, and which networks have what they show."""

from collections.abc import Mapping

from model.network.config import PANOPTIC_SEGFORMER, NetworkConfig

ATTENTION, SAMPLING, PREFERENCE = "attention", "sampling", "preference"
MERGING, EARLY_EXIT = "merging", "early exit"


def has_learned_queries(config: NetworkConfig) -> bool:
    """Tell whether a query is a parameter of the network; else its number is its rank among an image's tokens."""
    return config.family != PANOPTIC_SEGFORMER or config.query_initialization == "learned"


def left_out(config: NetworkConfig) -> Mapping[str, str]:
    """Return the parts that do not apply to a network, with the reason."""
    reasons: dict[str, str] = {}
    if config.family != PANOPTIC_SEGFORMER:
        reasons[ATTENTION] = f"masks of the family {config.family!r} are no attention maps"
        reasons[SAMPLING] = f"the family {config.family!r} has layers of its own, which are not recorded"
        reasons[EARLY_EXIT] = f"networks of the family {config.family!r} compute all of their layers"
    elif config.mask_head != "attention":
        reasons[ATTENTION] = f"the mask head {config.mask_head!r} refines its attention by convolutions"
        reasons[EARLY_EXIT] = f"the mask head {config.mask_head!r} has no layers to read masks from"
    if config.family == PANOPTIC_SEGFORMER and config.attention != "deformable":
        reasons[SAMPLING] = f"{config.attention} attention samples no points"
    if config.stuff_queries == "none":
        reasons[PREFERENCE] = "the network finds things alone"
    return reasons
