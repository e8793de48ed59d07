"""Network families as rows of a comparison, and the mergings of table 7 of the paper for MaskFormer's masks."""

from collections.abc import Mapping, Sequence

from benchmarks.compare_models.rows import Claim, ComparedModel, RowTable
from model.network.config import PANOPTIC_SEGFORMER

_MASK_WISE = Claim(
    "maskformer", "below", "mask-wise merging is better than the argmax for MaskFormer's masks as well (table 7)"
)
_NO_PRETRAINING = "it starts from random weights in any case, as its vision transformer has no other weights here"
_ARGMAX = "an argmax over the masks"
FAMILY_ROWS: Mapping[str, ComparedModel] = {
    PANOPTIC_SEGFORMER: ComparedModel("Panoptic SegFormer, version 2"),
    "learned_queries": ComparedModel(
        "Panoptic SegFormer, learned queries as published",
        settings={
            "model": {"query_initialization": "learned", "token_classes": False},
            "train": {"losses": {"token_class": 0.0}},
        },
        remark="it lacks the two shortcuts of `params.yaml` that the other families cannot have",
    ),
    "detr": ComparedModel(
        "DETR's panoptic head",
        "ablations/detr",
        remark=f"merged by {_ARGMAX} (p), other rows mask by mask (m) unless they say otherwise",
    ),
    "d_detr_ms": ComparedModel(
        "D-DETR-MS",
        "ablations/d_detr_ms",
        remark="Deformable DETR, with feature maps of several scales, and DETR's mask head: a baseline of the paper",
    ),
    "maskformer": ComparedModel("MaskFormer", "families/maskformer"),
    "mask2former": ComparedModel("Mask2Former", "families/mask2former"),
    "eomt": ComparedModel("EoMT", "families/eomt", remark=_NO_PRETRAINING),
}
_LOW = 0.05
_MERGED: Mapping[str, ComparedModel] = {
    f"{PANOPTIC_SEGFORMER}_low": ComparedModel(
        f"Panoptic SegFormer's weights, score threshold {_LOW}", weights_of=PANOPTIC_SEGFORMER, score_threshold=_LOW
    ),
    "mask2former_low": ComparedModel(
        f"Mask2Former's weights, score threshold {_LOW}",
        weights_of="mask2former",
        score_threshold=_LOW,
        remark="after so short a training the probabilities of its things are below the threshold of the other rows",
    ),
    "maskformer_p": ComparedModel(
        "MaskFormer's weights, merging p", "ablations/merging_p", "maskformer", claims=(_MASK_WISE,), remark=_ARGMAX
    ),
    "maskformer_p_star": ComparedModel(
        "MaskFormer's weights, merging p*",
        "ablations/merging_p_star",
        "maskformer",
        claims=(_MASK_WISE,),
        remark="an argmax over class probability times mask",
    ),
}


def families_table(names: Sequence[str]) -> RowTable:
    """Make rows of Panoptic SegFormer and the named families, trained with equal steps."""
    rows = {name: row for name, row in FAMILY_ROWS.items() if name == PANOPTIC_SEGFORMER or name in names}
    merged = {name: row for name, row in _MERGED.items() if row.weights_of in rows}
    return RowTable("families", "Network families, trained with one budget", rows | merged, detailed=True)
