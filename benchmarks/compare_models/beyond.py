"""Options that are not in the papers, alone and together, beside the network that `params.yaml` configures."""

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.compare_models.rows import PAPERS, ComparedModel, RowTable

FIRST, REFINED = "v2", "mask_refinement"
_MASK_PIXEL: Mapping[str, Mapping[str, object]] = {"predict": {"merging": {"method": "mask_pixel"}}}

BEYOND = RowTable(
    "beyond",
    "Beyond the papers: options with one budget",
    MappingProxyType(
        {
            FIRST: PAPERS.rows[FIRST],
            "v2_p": PAPERS.rows["v2_p"],
            "v2_p_star": PAPERS.rows["v2_p_star"],
            "v2_mask_pixel": ComparedModel("v2's weights, merging mask_pixel", weights_of=FIRST, settings=_MASK_PIXEL),
            REFINED: ComparedModel("refined masks", "ablations/mask_refinement"),
            f"{REFINED}_mask_pixel": ComparedModel(
                "refined masks' weights, merging mask_pixel",
                "ablations/mask_refinement",
                REFINED,
                settings=_MASK_PIXEL,
                others=(FIRST, REFINED),
            ),
        }
    ),
)
"""The rows; those of the papers' mergings are decided here with more seeds."""
