"""What is compared: the rows of the papers' tables that the embedded dataset can be trained on, and their claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CLOSE = 1.0
"""PQ, in percent, that two rows may differ by and still be called close."""
CLOSE_CALL = 2.0
"""PQ, in percent, up to which a difference of two rows deserves more seeds."""


SCORE_THRESHOLD = 0.15
"""Of every row. After so short a training few probabilities reach the published 0.25, which would hide the rest."""


@dataclass(frozen=True)
class Claim:
    """What a paper says of a row beside another one."""

    other: str
    relation: str  # below or above the other row, or close to it
    words: str


@dataclass(frozen=True)
class Row:
    """One way to get panoptic maps.

    A row with `weights_of` predicts with that row's weights; its overlay changes settings of `predict` only.
    """

    title: str
    overlay: str | None = None  # file in experiments/ablations, without its ending
    weights_of: str | None = None
    score_threshold: float = SCORE_THRESHOLD
    claims: tuple[Claim, ...] = ()
    remark: str = ""  # what to know when reading the row
    finding: str = ""  # what a look for an issue gave; for the case that a claim does not show


_DEEP = (
    "supervising every layer of the mask decoder lets its attention find the segments soon, and halves the epochs that"
    " are needed (abstract)"
)
_JOINT = "one set of queries for things and stuff lets them interfere; decoupled queries are better (table 5)"
_CENTERS = "centers of mass do in the place of boxes, at a small loss (ablation of the location decoder)"
_DETR = "DETR is 6.2 PQ behind (abstract and table 5)"
_DETR_M = "mask-wise merging betters DETR without another training (table 5)"
_D_DETR = "deformable attention on several levels brings DETR only part of the way (table 5)"
_VERSION_1 = "the second version is better than the first: 55.4 against 54.1 with PVTv2-B5 on COCO val2017"
_ARGMAX = (
    "mask-wise merging beats an argmax at every pixel, which false positives of single pixels disturb (section 3.5)"
)
_PRODUCT = "weighing the masks with their class probabilities betters the argmax (the ablation of the merging)"
_LAYERS = "two layers of the mask decoder nearly match all of them (table 10)"
_SHARE = (
    "the losses of all layers equal the published code's on its recorded case (tests/model/training/test_criterion.py),"
    " so no issue was found. Every further mask loss takes from the share that the class losses have in a step: the"
    " next row is deep supervision whose mask losses weigh together what they weigh here (its stuff classes weigh more)"
)
_POINTS = "its losses and matching are those of the boxes but for the GIoU; no issue was found, and no reason measured"
_FEW_QUERIES = "things and stuff share as many queries here as version 2 has for things alone"
_UNTRAINED = "it has hardly begun to find things; the order shows, the distance says nothing"
_TWO_BLOCKS = "two blocks are all there are on these settings: what is left out is the tail alone"
_QUALITY = "the mask's quality belongs into the score (section 3.5)"

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "v2": Row("Panoptic SegFormer, version 2"),
        "v1": Row("version 1", "v1", claims=(Claim("v2", "below", _VERSION_1),), remark=_FEW_QUERIES),
        "joint_matching": Row(
            "joint matching", "joint_matching", claims=(Claim("v2", "below", _JOINT),), remark=_FEW_QUERIES
        ),
        "no_deep_supervision": Row(
            "no deep supervision", "no_deep_supervision", claims=(Claim("v2", "below", _DEEP),), finding=_SHARE
        ),
        "deep_supervision_averaged": Row(
            "deep supervision, its mask losses averaged",
            "deep_supervision_averaged",
            claims=(Claim("no_deep_supervision", "above", _DEEP),),
        ),
        "box_free": Row(
            "box-free: centers of mass", "box_free", claims=(Claim("v2", "close", _CENTERS),), finding=_POINTS
        ),
        "detr": Row(
            "DETR's panoptic head, merging p", "detr", claims=(Claim("v2", "below", _DETR),), remark=_UNTRAINED
        ),
        "detr_m": Row("DETR's weights, merging m", "detr_m", "detr", claims=(Claim("detr", "above", _DETR_M),)),
        "d_detr_ms": Row(
            "D-DETR-MS", "d_detr_ms", claims=(Claim("v2", "below", _D_DETR), Claim("detr_m", "above", _D_DETR))
        ),
        "v2_p": Row("v2's weights, merging p", "merging_p", "v2", claims=(Claim("v2", "below", _ARGMAX),)),
        "v2_p_star": Row(
            "v2's weights, merging p*",
            "merging_p_star",
            "v2",
            claims=(Claim("v2", "below", _ARGMAX), Claim("v2_p", "above", _PRODUCT)),
        ),
        "v2_class_score": Row(
            "v2's weights, merging m by class score alone",
            "merging_m_without_mask_quality",
            "v2",
            claims=(Claim("v2", "below", _QUALITY),),
        ),
        "v2_published_threshold": Row(
            "v2's weights, merging m at the published score threshold of 0.25", weights_of="v2", score_threshold=0.25
        ),
        "v2_layer_1": Row(
            "v2's weights, masks of block 1", "read_out_layer_1", "v2", claims=(Claim("v2", "below", _LAYERS),)
        ),
        "v2_layer_2": Row(
            "v2's weights, masks of block 2",
            "read_out_layer_2",
            "v2",
            claims=(Claim("v2", "close", _LAYERS),),
            remark=_TWO_BLOCKS,
        ),
    }
)
