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


def trained_classes(counts: ClassCounts, wanted: CategoryTable, prefer_coco: bool) -> CategoryTable:
    """Return the classes of a checkpoint: the wanted ones or COCO's, whichever has its counts.

    If both have, `prefer_coco` decides, or that the wanted ones are COCO's in another order. If neither has, they are
    unknown, and have ids and names that no dataset has.
    """
    coco = coco_categories()
    prefer_coco |= {(known.is_thing, known.name) for known in coco} == {(new.is_thing, new.name) for new in wanted}
    for known in (coco, wanted) if prefer_coco else (wanted, coco):
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


def require_classes(weights: Mapping[str, Tensor], trained: CategoryTable, wanted: CategoryTable, subject: str) -> None:
    """Check that all heads of a checkpoint, which were trained on the classes `trained`, are for the wanted ones.

    Raises:
        OfficialLayoutError: some are not; names them.
    """
    heads = {
        key: f"{tuple(tensor.shape)}, would "
        + (f"become {(len(classes), *tensor.shape[1:])}" if classes else "be dropped")
        for prefix, before, classes in (
            (_THING_HEADS, trained.things, wanted.things),
            (_STUFF_QUERIES, trained.stuff, wanted.stuff),
        )
        if [category.name for category in before] != [category.name for category in classes]
        for key, tensor in weights.items()
        if key.startswith(prefix)
    }
    if heads:
        raise OfficialLayoutError(
            f"{subject}: has heads for {len(trained.things)} thing and {len(trained.stuff)} stuff classes, "
            f"{_difference(trained, wanted)}. These would be re-initialized:\n"
            + "\n".join(listed(heads))
            + "\ngive the classes that it was trained on with --categories, or allow it with --reinitialize "
            "(classes of the same name keep what they learnt)"
        )


def _difference(trained: CategoryTable, wanted: CategoryTable) -> str:
    things, stuff = len(wanted.things), len(wanted.stuff)
    if (things, stuff) != (len(trained.things), len(trained.stuff)):
        return f"but {things} and {stuff} are wanted"
    pairs = zip(trained, wanted, strict=True)
    old, new = next((before, now) for before, now in pairs if before.name != now.name)
    return f"COCO's by their number, but '{new.name}' is wanted instead of '{old.name}'"
