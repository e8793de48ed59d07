"""Match the classes of a network that others trained to the categories of a dataset, by name.

Names match if they are equal, or if `SPELLINGS` has both as the same category; nothing is guessed. The dataset tells
things from stuff, never the network.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from panoptic.format.categories import CategoryTable
from panoptic.io.errors import shown_ids
from panoptic.io.names import normal_text

SPELLINGS: Mapping[str, str] = {
    # Pascal VOC's names, which darknet's list of COCO's classes has kept.
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
    # COCO's stuff without its endings, as X-Decoder and SEEM write it; "wall" and "floor" have more than one ending.
    "building": "building-other-merged",
    "cabinet": "cabinet-merged",
    "ceiling": "ceiling-merged",
    "dirt": "dirt-merged",
    "door": "door-stuff",
    "fence": "fence-merged",
    "food": "food-other-merged",
    "grass": "grass-merged",
    "mirror": "mirror-stuff",
    "mountain": "mountain-merged",
    "paper": "paper-merged",
    "pavement": "pavement-merged",
    "rock": "rock-merged",
    "rug": "rug-merged",
    "sky": "sky-other-merged",
    "table": "table-merged",
    "tree": "tree-merged",
    "water": "water-other",
}
"""Other names of COCO's categories."""
_PLACEHOLDER = re.compile(r"N/A|LABEL_\d+|", re.ASCII)
"""Name of a class that stands for nothing, as in the gaps between COCO's ids."""
_SHOWN = 3


@dataclass(frozen=True)
class ClassMap:
    """The classes of a network among the categories of a dataset."""

    labels: tuple[int | None, ...]
    """Label in the dataset of each class of the network; None for a class that is no category there."""
    notes: tuple[str, ...]
    """What does not match by equal names, a line each."""


def match_classes(names: Sequence[str], categories: CategoryTable, where: str) -> ClassMap:
    """Match classes to categories.

    Args:
        names: of the network's classes.
        categories: of the dataset.
        where: names the network in messages.

    Raises:
        ValueError: no class is a category of the dataset.
    """
    names = [normal_text(name) for name in names]
    counts = Counter(category.name for category in categories)
    # What several categories are called is the name of none.
    exact = {category.name: label for label, category in enumerate(categories) if counts[category.name] == 1}
    other = {SPELLINGS.get(name, name): label for name, label in exact.items()} | exact
    labels = tuple(exact.get(name, other.get(SPELLINGS.get(name, name))) for name in names)
    if set(labels) == {None}:
        here, there = shown_ids(names, _SHOWN), shown_ids([category.name for category in categories], _SHOWN)
        raise ValueError(
            f"{where}: none of its classes ({here}) is a category of the dataset ({there}); choose a network that was "
            "trained on these categories, or score it on a dataset with its own: python -m stages.predict"
        )
    return ClassMap(labels, tuple(_notes(names, labels, categories, where)))


def _notes(names: Sequence[str], labels: Sequence[int | None], categories: CategoryTable, where: str) -> list[str]:
    pairs = list(zip(names, labels, strict=True))
    matched = [(name, categories.category_of(label).name) for name, label in pairs if label is not None]
    unknown = [name for name, label in pairs if label is None]
    named = [name for name in unknown if not _PLACEHOLDER.fullmatch(name)]
    missing = [category.name for label, category in enumerate(categories) if label not in set(labels)]
    of_classes, of_categories = f"of {len(names)} classes", f"of {len(categories)} categories of the dataset"
    notes = {
        f"{of_classes} are taken by another spelling": [f"{name} as {own}" for name, own in matched if name != own],
        f"{of_classes} are no categories of the dataset, and void where they are found": named,
        f"{of_categories} are unknown to it, and never found": missing,
    }
    unnamed = len(unknown) - len(named)
    found = [f"{where}: {len(what)} {text}: {shown_ids(what, _SHOWN)}" for text, what in notes.items() if what]
    return [*found, *([f"{where}: {unnamed} {of_classes} have no name, and are void"] if unnamed else [])]
