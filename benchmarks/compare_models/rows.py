"""Tables of networks to compare: those of the papers, with the papers' claims about them, and recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pipelines.override import experiment_files

CLOSE = 1.0
"""Largest difference in PQ, in percent, of two rows that are called close."""
SCORE_THRESHOLD = 0.15
"""Score threshold of every row: after so short a training few probabilities reach the published 0.25."""


@dataclass(frozen=True)
class Claim:
    """A paper's statement about a row relative to another one."""

    other: str
    relation: str  # below, above, or close to the other row
    words: str


@dataclass(frozen=True)
class ComparedModel:
    """A network and the way it is merged: settings on top of params.yaml.

    A row with `weights_of` predicts with that row's weights; its settings change `predict` only.
    """

    title: str
    override: str | None = None  # file in experiments/, without its extension
    weights_of: str | None = None
    score_threshold: float = SCORE_THRESHOLD
    claims: tuple[Claim, ...] = ()
    others: tuple[str, ...] = ()  # rows to compare with, beside those of the claims
    remark: str = ""  # to keep in mind when reading the row
    finding: str = ""  # of the search for an issue, shown where a claim is not confirmed
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # by section, after those of the file
    steps: int | None = None  # of the optimizer, if not those of the other rows


def mask_layers(depth: int) -> dict[str, object]:
    """Set the layers of both mask decoders, in the section `model`. Raises `ValueError` if there are to be none."""
    if depth < 1:
        raise ValueError(f"mask decoders cannot have {depth} layers; give at least 1")
    return {"thing_mask_layers": depth, "stuff_mask_layers": depth}


@dataclass(frozen=True)
class RowTable:
    """Networks that are compared with each other, by name, and the page that shows them."""

    page: str  # name of the files that are published
    title: str
    rows: Mapping[str, ComparedModel]
    detailed: bool = False  # also PQ under corruption, and what a prediction costs

    @classmethod
    def of_recipes(cls, names: Sequence[str]) -> "RowTable":
        """Make a row of every file in experiments/, given without its extension. Raises `ValueError` for others."""
        for file in experiment_files(names):
            if not file.is_file():
                raise ValueError(
                    f"{file}: there is no such file; name files in experiments/, such as ablations/box_free"
                )
        rows = {name.replace("/", "-"): ComparedModel(name, name) for name in names}
        return cls("recipes", "Recipes, trained with one budget", rows)

    def trained(self, row: str) -> str:
        """Return the row whose weights a row uses."""
        return self.rows[row].weights_of or row

    def comparisons(self, chosen: Sequence[str]) -> list[tuple[str, str]]:
        """Pair every chosen row with those that it names, or that has its weights, or else the first."""
        names = [name for name in self.rows if name in chosen]
        pairs = []
        for name in names:
            wanted = [*(claim.other for claim in self.rows[name].claims), *self.rows[name].others]
            named = [other for other in wanted if other in names]
            same_weights = [other for other in names if other == self.rows[name].weights_of]
            pairs += [(name, other) for other in named or same_weights or names[:1] if other != name]
        return pairs


_DEEP = (
    "supervising every layer of the mask decoder makes its attention find the segments early and halves the number of"
    " epochs (abstract)"
)
_JOINT = "one set of queries for things and stuff lets them interfere; decoupled queries are better (table 5)"
_CENTERS = "centers of mass replace boxes at a small loss (ablation of the location decoder)"
_DETR = "DETR is 6.2 PQ behind (abstract and table 5)"
_DETR_M = "mask-wise merging improves DETR without retraining (table 5)"
_D_DETR = "multi-scale deformable attention closes only part of DETR's gap (table 5)"
_MASK_WISE = "mask-wise merging is better than the argmax for D-DETR-MS as well (table 7)"
_VERSION_1 = "the second version is better than the first: 55.4 against 54.1 with PVTv2-B5 on COCO val2017"
_ARGMAX = (
    "mask-wise merging beats an argmax per pixel, which is disturbed by false positives of single pixels (section 3.5)"
)
_PRODUCT = "weighting the masks by their class probabilities improves the argmax (ablation of the merging)"
_LAYERS = "two layers of the mask decoder nearly match all of them (table 10)"
_DILUTION = (
    "the losses of all layers equal the published code's on its recorded case (tests/model/training/test_criterion.py),"
    " so no issue was found. Every further mask loss lowers the fraction of the class losses in the total: the next row"
    " is deep supervision whose mask losses have the same total weight as here (its stuff classes weigh more)"
)
_POINTS = "its losses and matching are those of boxes without the GIoU; no issue was found, and no cause was measured"
_FEW_QUERIES = "things and stuff share as many queries as version 2 has for things alone"
_UNTRAINED = "it has hardly begun to find things; the order is meaningful, the distance is not"
_TWO_BLOCKS = "these settings have two blocks only: all that is left out is the tail"
_QUALITY = "the mask's quality belongs in the score (section 3.5)"

_ROWS: Mapping[str, ComparedModel] = MappingProxyType(
    {
        "v2": ComparedModel("Panoptic SegFormer, version 2"),
        "v1": ComparedModel(
            "version 1", "ablations/v1", claims=(Claim("v2", "below", _VERSION_1),), remark=_FEW_QUERIES
        ),
        "joint_matching": ComparedModel(
            "joint matching", "ablations/joint_matching", claims=(Claim("v2", "below", _JOINT),), remark=_FEW_QUERIES
        ),
        "no_deep_supervision": ComparedModel(
            "no deep supervision",
            "ablations/no_deep_supervision",
            claims=(Claim("v2", "below", _DEEP),),
            remark="with six layers instead of these two, deep supervision is worth 5 to 12 PQ (deep_supervision.md)",
            finding=_DILUTION,
        ),
        "deep_supervision_averaged": ComparedModel(
            "deep supervision, its mask losses averaged",
            "ablations/deep_supervision_averaged",
            claims=(Claim("no_deep_supervision", "above", _DEEP),),
        ),
        "box_free": ComparedModel(
            "box-free: centers of mass", "ablations/box_free", claims=(Claim("v2", "close", _CENTERS),), finding=_POINTS
        ),
        "detr": ComparedModel(
            "DETR's panoptic head, merging p",
            "ablations/detr",
            claims=(Claim("v2", "below", _DETR),),
            remark=_UNTRAINED,
        ),
        "detr_m": ComparedModel(
            "DETR's weights, merging m", "ablations/detr_m", "detr", claims=(Claim("detr", "above", _DETR_M),)
        ),
        "detr_p": ComparedModel(
            "DETR's weights, DETR's own merging",
            "ablations/merging_detr",
            "detr",
            claims=(Claim("detr_m", "below", _DETR_M),),
        ),
        "d_detr_ms": ComparedModel(
            "D-DETR-MS",
            "ablations/d_detr_ms",
            claims=(Claim("v2", "below", _D_DETR), Claim("detr_m", "above", _D_DETR)),
        ),
        "d_detr_ms_p": ComparedModel(
            "D-DETR-MS's weights, merging p",
            "ablations/merging_p",
            "d_detr_ms",
            claims=(Claim("d_detr_ms", "below", _MASK_WISE),),
        ),
        "v2_p": ComparedModel(
            "v2's weights, merging p", "ablations/merging_p", "v2", claims=(Claim("v2", "below", _ARGMAX),)
        ),
        "v2_p_star": ComparedModel(
            "v2's weights, merging p*",
            "ablations/merging_p_star",
            "v2",
            claims=(Claim("v2", "below", _ARGMAX), Claim("v2_p", "above", _PRODUCT)),
        ),
        "v2_class_score": ComparedModel(
            "v2's weights, merging m by class score alone",
            "ablations/merging_m_without_mask_quality",
            "v2",
            claims=(Claim("v2", "below", _QUALITY),),
        ),
        "v2_published_threshold": ComparedModel(
            "v2's weights, merging m at the published score threshold of 0.25", weights_of="v2", score_threshold=0.25
        ),
        "v2_layer_1": ComparedModel(
            "v2's weights, masks of block 1",
            "ablations/read_out_layer_1",
            "v2",
            claims=(Claim("v2", "below", _LAYERS),),
        ),
        "v2_layer_2": ComparedModel(
            "v2's weights, masks of block 2",
            "ablations/read_out_layer_2",
            "v2",
            claims=(Claim("v2", "close", _LAYERS),),
            remark=_TWO_BLOCKS,
        ),
    }
)
PAPERS = RowTable("comparison", "The papers' models, trained with one budget on the embedded dataset", _ROWS)
