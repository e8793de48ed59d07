"""How each network of the papers' tables is made here: a recipe for its dataset, and a row of a benchmark on `mini`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

Page: TypeAlias = Literal["comparison", "families", "recipes", "layers", "robustness", "ladder"]
"""Results of a benchmark: the name of its file or, of robustness, of the folders that the benchmark leaves."""
_PROGRAMS: Mapping[Page, tuple[str, ...]] = MappingProxyType(
    {
        "comparison": ("benchmarks.compare_models", "--rows"),
        "families": ("benchmarks.compare_models", "--families"),
        "recipes": ("benchmarks.compare_models", "--recipes"),
        "layers": ("benchmarks.layers",),
        "robustness": ("benchmarks.compare_models", "--families"),
        "ladder": ("benchmarks.ladder", "--rows"),
    }
)
OF_A_MACHINE = ("FPS", "memory")
"""Columns that are measured, and depend on the machine."""


@dataclass(frozen=True)
class Source:
    """A row of a page; `argument` is what its command is given to make it, if anything."""

    page: Page
    row: str
    argument: str = ""


@dataclass(frozen=True)
class System:
    """A network of the tables.

    Attributes:
        recipe: files in experiments/, in their order.
        mini: the same network and merging at the size of `mini`.
        shares_mini: True where it differs from another system only in what `mini` has one of: the backbone, the number
            of epochs, the dataset.
        model: its entry in `PUBLISHED`, by which parameters and FLOPs are counted; empty if it has none.
        ladder: its row in the benchmark of speed and memory; empty if it has none.
        corrupted: its row among the families, which are scored under corruption; empty if it has none.
    """

    recipe: str
    mini: Source
    shares_mini: bool = False
    model: str = ""
    ladder: str = ""
    corrupted: str = ""

    def on_mini(self, columns: Collection[str]) -> Source | None:
        """Return what has the quality that columns ask for, on `mini`; None if they ask for none."""
        if "clean" in columns and self.corrupted:
            family = self.mini.argument if self.mini.page == "families" else self.corrupted
            return Source("robustness", self.corrupted, family)
        return self.mini if {"PQ", "AP seg"} & set(columns) else None

    def timed(self, columns: Collection[str]) -> Source | None:
        """Return what has the speed that columns ask for; None if they ask for none."""
        return Source("ladder", self.ladder, self.ladder) if self.ladder and set(OF_A_MACHINE) & set(columns) else None


def command(sources: Sequence[Source]) -> list[str]:
    """Return the module and arguments that make rows of one page."""
    arguments = dict.fromkeys(source.argument for source in sources if source.argument)
    return [*_PROGRAMS[sources[0].page], *arguments]


def _row(name: str) -> Source:
    return Source("comparison", name, name)


def _maskformer(merging: str = "") -> System:
    row = f"maskformer_{merging}" if merging else "maskformer"
    overlay = f" ablations/merging_{merging}" if merging else ""
    return System(f"coco families/maskformer{overlay}", Source("families", row, "maskformer"), corrupted=row)


def _recipe(name: str) -> Source:
    return Source("recipes", name.replace("/", "-"), name)


def _layer(recipe: str, layer: str) -> System:
    return System(recipe, Source("layers", layer))


def _shared(system: System, recipe: str, model: str = "", ladder: str = "") -> System:
    return replace(system, recipe=recipe, shares_mini=True, model=model, ladder=ladder)


_V1 = System("coco coco/v1 coco/50e", _row("v1"), model="v1_r50", ladder="v1_r50")
_V2 = System("coco", _row("v2"), model="r50", ladder="v2", corrupted="panoptic_segformer")
_DETR = System("coco coco/detr", _row("detr_p"), model="detr_r50", ladder="detr")
_MASKFORMER = _maskformer("p_star")
_INSTANCES = System("coco ablations/things_only", _recipe("ablations/things_only"))

SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "v1_r50": _V1,
        "v1_r50_12": _shared(_V1, "coco coco/v1 coco/12e", "v1_r50"),
        "v1_r101": _shared(_V1, "coco coco/r101 coco/v1 coco/50e", "v1_r101", "v1_r101"),
        "v1_pvtv2_b0": _shared(_V1, "coco coco/pvtv2_b0 coco/v1 coco/50e", "v1_pvtv2_b0"),
        "v1_pvtv2_b2": _shared(_V1, "coco coco/pvtv2_b2 coco/v1 coco/50e", "v1_pvtv2_b2"),
        "v1_pvtv2_b5": _shared(_V1, "coco coco/pvtv2_b5 coco/v1 coco/50e", "v1_pvtv2_b5", "v1_pvtv2_b5"),
        "v1_instances": _shared(_INSTANCES, "coco coco/v1 coco/50e ablations/things_only"),
        "v2_r50": _V2,
        "v2_r50_12": _shared(_V2, "coco coco/12e", "r50"),
        "v2_r101": _shared(_V2, "coco coco/r101", "r101"),
        "v2_pvtv2_b0": _shared(_V2, "coco coco/pvtv2_b0", "pvtv2_b0"),
        "v2_pvtv2_b2": _shared(_V2, "coco coco/pvtv2_b2", "pvtv2_b2"),
        "v2_pvtv2_b5": _shared(_V2, "coco coco/pvtv2_b5", "pvtv2_b5"),
        "v2_swin_l": _shared(_V2, "coco coco/swin_l", "swin_l"),
        "ade20k_v2_r50": _shared(_V2, "coco ade20k"),
        "v2_instances": _INSTANCES,
        "v2_instances_no_crop": _shared(_INSTANCES, "coco ablations/things_only_no_crop"),
        "v2_p": System("coco ablations/merging_p", _row("v2_p")),
        "joint_matching": System(
            "coco coco/joint_matching", _row("joint_matching"), model="joint_r50", ladder="joint_matching"
        ),
        "box_free": System("coco ablations/box_free", _row("box_free")),
        **{
            f"location_layers_{number}": System(f"coco {name}", _recipe(name))
            for number in (0, 1, 2)
            for name in (f"ablations/location_layers_{number}",)
        },
        **{f"v2_layer_{number}": _layer(f"coco ablations/read_out_layer_{number}", number) for number in "123"},
        "v2_layer_last": _layer("coco", "all"),
        "detr_p": _DETR,
        "detr_r101": _shared(_DETR, "coco coco/r101 coco/detr"),
        "detr_m": System("coco coco/detr ablations/detr_m", _row("detr_m"), model="detr_r50", ladder="detr_m"),
        "d_detr_ms": System(
            "coco coco/d_detr_ms coco/50e",
            _row("d_detr_ms"),
            model="d_detr_ms_r50",
            ladder="d_detr_ms",
            corrupted="d_detr_ms",
        ),
        "d_detr_ms_p": System("coco coco/d_detr_ms coco/50e ablations/merging_p", _row("d_detr_ms_p")),
        "maskformer_m": _maskformer(),
        "maskformer_p": _maskformer("p"),
        "maskformer_p_star": _MASKFORMER,
        "maskformer_r101": _shared(_MASKFORMER, "coco coco/r101 families/maskformer ablations/merging_p_star"),
        "maskformer_swin_l": _shared(_MASKFORMER, "coco coco/swin_l families/maskformer ablations/merging_p_star"),
        "ade20k_maskformer_r50": _shared(_MASKFORMER, "coco ade20k families/maskformer ablations/merging_p_star"),
        "ade20k_maskformer_r101": _shared(
            _MASKFORMER, "coco coco/r101 ade20k families/maskformer ablations/merging_p_star"
        ),
    }
)
"""All systems but those that are quoted from other work and not built here."""


@dataclass(frozen=True)
class Drawing:
    """The command that draws a figure, and a file that it leaves."""

    command: str
    result: str


_EXPLAIN = Drawing("dvc repro explain", "runs/explain/explain.json")
_RUNS = Drawing("panoptic report RUN_A RUN_B", "runs/comparison.html")
_PARAMETERS = Drawing("python -m benchmarks.parameters", "benchmarks/results/parameters.json")
FIGURES: Mapping[str, Drawing] = MappingProxyType(
    {
        "v1.F1": _PARAMETERS,
        "v1.F4": _RUNS,
        "v1.F5": _EXPLAIN,
        "v2.F1": _PARAMETERS,
        "v2.F4": _EXPLAIN,
        "v2.F5": Drawing("python -m benchmarks.deep_supervision", "benchmarks/results/deep_supervision.json"),
        "v2.F6": _EXPLAIN,
        "v2.F7": Drawing("python -m benchmarks.queries", "benchmarks/results/queries.json"),
    }
)
