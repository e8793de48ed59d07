"""Classes of published checkpoints, and the heads that do not fit other classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from model.network.config import NetworkConfig
from model.weights.loading.layout import OfficialLayoutError, listed
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.json_fields import read_json

COCO_CATEGORIES = Path(__file__).parent / "coco_categories.json"
_THING_HEADS, _STUFF_QUERIES = "location_decoder.class_heads.", "stuff_masks.query_embedding."


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of thing and stuff classes of a network."""

    things: int
    stuff: int

    @classmethod
    def of_official(cls, state: Mapping[str, Tensor]) -> "ClassCounts":
        """Count the classes of a published state dict; COCO's where its heads are missing."""
        coco = coco_categories()
        things, stuff = state.get("bbox_head.cls_branches.0.bias"), state.get("bbox_head.stuff_query.weight")
        return cls(
            len(coco.things) if things is None or not things.ndim else len(things),
            len(coco.stuff) if stuff is None or not stuff.ndim else len(stuff),
        )


def coco_categories() -> CategoryTable:
    """Read the classes that the published checkpoints were trained on."""
    return categories_of(COCO_CATEGORIES)


def categories_of(path: Path) -> CategoryTable:
    """Read the `categories` of a JSON file in COCO's format."""
    return CategoryTable.from_json(read_json(path).values.get("categories"), str(path))


def heads_of_other_classes(counts: ClassCounts, wanted: CategoryTable) -> tuple[str, ...]:
    """Name prefixes of our entries that a checkpoint with these counts holds for other classes than the wanted.

    A checkpoint does not name its classes; if it has COCO's numbers of things and stuff, they are taken to be COCO's.
    """
    coco = coco_categories()
    known = counts == ClassCounts(len(coco.things), len(coco.stuff))
    heads = (
        (_THING_HEADS, wanted.things, coco.things, counts.things),
        (_STUFF_QUERIES, wanted.stuff, coco.stuff, counts.stuff),
    )
    return tuple(
        prefix
        for prefix, classes, trained, count in heads
        if len(classes) != count or (known and _names(classes) != _names(trained))
    )


def trained_classes(counts: ClassCounts, wanted: CategoryTable) -> CategoryTable:
    """Return the classes of a checkpoint: COCO's or the wanted ones, whichever has its counts.

    If neither has, they are unknown, and have ids and names that no dataset has.
    """
    coco = coco_categories()
    for known in (coco, wanted):
        if counts == ClassCounts(len(known.things), len(known.stuff)):
            return known
    return CategoryTable.of(
        Category(-1 - label, f"unknown class {label}", label < counts.things, (0, 0, 0))
        for label in range(counts.things + counts.stuff)
    )


def config_for(config: NetworkConfig, categories: CategoryTable) -> NetworkConfig:
    """Return the network for these classes: without its stuff parts for things alone, and joint for stuff alone."""
    if not categories.stuff:
        return replace(config, stuff="none")
    return config if categories.things else replace(config, stuff="joint")


def require_classes(weights: Mapping[str, Tensor], counts: ClassCounts, wanted: CategoryTable, subject: str) -> None:
    """Check that all heads of a checkpoint fit the wanted classes.

    Raises:
        OfficialLayoutError: some do not; names them.
    """
    prefixes = heads_of_other_classes(counts, wanted)
    if not prefixes:
        return
    sizes = {_THING_HEADS: len(wanted.things), _STUFF_QUERIES: len(wanted.stuff)}
    heads = {
        key: f"{tuple(tensor.shape)}, would "
        + (f"become {(sizes[prefix], *tensor.shape[1:])}" if sizes[prefix] else "be dropped")
        for prefix in prefixes
        for key, tensor in weights.items()
        if key.startswith(prefix)
    }
    raise OfficialLayoutError(
        f"{subject}: has heads for {counts.things} thing and {counts.stuff} stuff classes, "
        f"{_difference(counts, wanted)}. These would be re-initialized:\n"
        + "\n".join(listed(heads))
        + "\ngive the classes that it was trained on with --categories, or allow it with --reinitialize "
        "(classes of the same name keep what they learnt)"
    )


def _difference(counts: ClassCounts, wanted: CategoryTable) -> str:
    if counts != ClassCounts(len(wanted.things), len(wanted.stuff)):
        return f"but {len(wanted.things)} and {len(wanted.stuff)} are wanted"
    pairs = zip(coco_categories(), wanted, strict=True)
    first = next((ours, theirs) for ours, theirs in pairs if ours.name != theirs.name)
    return f"COCO's by their number, but '{first[1].name}' is wanted instead of '{first[0].name}'"


def _names(categories: tuple[Category, ...]) -> list[str]:
    return [category.name for category in categories]
