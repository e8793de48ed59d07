"""Correspondence between the classes that weights were trained on and those of new data.

A class follows its name. One whose name has changed follows its id, where both lists evidently number the same classes:
some class has the same id and name in both, no name has another id, and at least half of the old ids recur.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from model.weights.description import CheckpointError
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.errors import shown_ids


@dataclass(frozen=True)
class ClassMatch:
    """The old classes that new ones correspond to."""

    sources: Mapping[int, int]  # old id by new id
    kept: tuple[str, ...]
    renamed: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """True if both lists have the same classes."""
        return not (self.renamed or self.new or self.dropped)

    def lines(self) -> list[str]:
        """Describe what becomes of the classes, in a line for each case that occurs."""
        cases = {
            "classes kept": self.kept,
            "classes kept by their id under a new name": self.renamed,
            "new classes, with initial values": self.new,
            "classes dropped": self.dropped,
        }
        return [f"{case}: {len(names)} ({shown_ids(names)})" for case, names in cases.items() if names]


def match_classes(old: CategoryTable, new: CategoryTable, source: str) -> ClassMatch:
    """Find the class of `old`, the table of the file `source`, for each class of `new`.

    Raises:
        CheckpointError: a name stands for several classes, so that it does not say which.
    """
    found = _by_name(old, new, source) if old.describe_difference(new) else {category.id: category for category in old}
    used = {category.id for category in found.values()}
    if _same_numbers(old, new, found):
        free = [category for category in new if category.id not in found and category.id in old]
        found |= {category.id: old.by_id(category.id) for category in free if _may_be(category, old, used)}
        used = {category.id for category in found.values()}
    pairs = [(category, found.get(category.id)) for category in new]
    return ClassMatch(
        sources={new_id: category.id for new_id, category in found.items()},
        kept=tuple(category.name for category, source in pairs if source and source.name == category.name),
        renamed=tuple(
            f"{source.name} -> {category.name}" for category, source in pairs if source and source.name != category.name
        ),
        new=tuple(category.name for category, source in pairs if not source),
        dropped=tuple(category.name for category in old if category.id not in used),
    )


def _by_name(old: CategoryTable, new: CategoryTable, source: str) -> dict[int, Category]:
    counts = [Counter(map(_name, table)) for table in (old, new)]
    unclear = [name for name in counts[0] if name in counts[1] and max(count[name] for count in counts) > 1]
    if unclear:
        raise CheckpointError(
            f"{source} has other classes than the data, and they cannot be matched by name: "
            f"{shown_ids([repr(name) for _, name in unclear])} occurs twice; give each class a name of its own, in the "
            "data and in the JSON file beside the weights, without its last line"
        )
    by_name = {_name(category): category for category in old}
    return {category.id: by_name[_name(category)] for category in new if _name(category) in by_name}


def _same_numbers(old: CategoryTable, new: CategoryTable, found: Mapping[int, Category]) -> bool:
    recurring = sum(category.id in new for category in old)
    agreeing = all(new_id == category.id for new_id, category in found.items())
    return bool(found) and agreeing and 2 * recurring >= len(old)


def _may_be(category: Category, old: CategoryTable, used: set[int]) -> bool:
    """Tell whether the old class with the id of `category` is free, and a thing as it is, or stuff."""
    return category.id not in used and old.by_id(category.id).is_thing == category.is_thing


def _name(category: Category) -> tuple[bool, str]:
    return category.is_thing, category.name
