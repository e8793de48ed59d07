"""Category tables, taken from the data: things first, then stuff, each in ascending order of id."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.json_fields import FieldError, JsonObject
from panoptic.io.names import normal_text


@dataclass(frozen=True, slots=True)
class Category:
    """One class of a dataset; `color` is RGB, 0..255."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]
    supercategory: str = ""

    @property
    def web_color(self) -> str:
        """The color as CSS writes it."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)

    @classmethod
    def from_json(cls, entry: JsonObject) -> "Category":
        """Read an entry of COCO's `categories` list. Raises `FieldError` for a missing or wrong field."""
        category_id = entry.integer("id")
        color = _color(entry) if entry.has("color") else _color_for(category_id)
        supercategory = entry.text("supercategory") if entry.has("supercategory") else ""
        return cls(category_id, normal_text(entry.text("name")), entry.flag("isthing"), color, supercategory)


@dataclass(frozen=True)
class CategoryTable:
    """The classes of a dataset. Labels 0..T-1 are things, T..T+S-1 stuff; ids are the data's own."""

    things: tuple[Category, ...]
    stuff: tuple[Category, ...]

    def __len__(self) -> int:
        return len(self.things) + len(self.stuff)

    def __iter__(self) -> Iterator[Category]:
        yield from self.things
        yield from self.stuff

    def __contains__(self, category_id: object) -> bool:
        return category_id in self._labels

    def label_of(self, category_id: int) -> int:
        """Contiguous label of a category id. Raises `DatasetError` for an unknown id."""
        if category_id not in self._labels:
            raise DatasetError(f"category id {category_id} is not in the category table; add it there")
        return self._labels[category_id]

    def category_of(self, label: int) -> Category:
        """The category with a contiguous label. Raises `ValueError` outside 0..len-1."""
        if not 0 <= label < len(self):
            raise ValueError(f"label {label} is outside 0..{len(self) - 1}")
        return self.things[label] if label < len(self.things) else self.stuff[label - len(self.things)]

    def by_id(self, category_id: int) -> Category:
        """The category with an id of the dataset. Raises `DatasetError` for an unknown id."""
        return self.category_of(self.label_of(category_id))

    def unique_names(self, taken: Iterable[str] = ()) -> dict[int, str]:
        """The names by category id, followed by the id where several classes share a name, or one of those `taken`."""
        counts = Counter([*taken, *(category.name for category in self)])
        return {
            category.id: category.name if counts[category.name] == 1 else f"{category.name} (id {category.id})"
            for category in self
        }

    def with_unique_names(self) -> "CategoryTable":
        """The table for programs that know classes by name only."""
        names = self.unique_names()
        return CategoryTable.of(replace(category, name=names[category.id]) for category in self)

    def require_same(
        self, other: "CategoryTable | None", where: str, than: str, hint: str = "use one list for both"
    ) -> None:
        """Raise `DatasetError` if `other`, the table of `where`, differs from this one, that of `than`."""
        difference = self.describe_difference(other) if other else ""
        if difference:
            raise DatasetError(f"{where}: other categories than {than}: {difference}; {hint}")

    def describe_difference(self, other: "CategoryTable") -> str:
        """Describe how `other` differs in ids, names or thing and stuff; empty if it does not."""
        here, there = ({category.id: category for category in table} for table in (self, other))
        parts = [f"id {key} '{here[key].name}' is missing" for key in here if key not in there]
        parts += [f"id {key} '{there[key].name}' is new" for key in there if key not in here]
        for key in here.keys() & there.keys():
            if here[key].name != there[key].name:
                parts.append(f"id {key} is '{there[key].name}' instead of '{here[key].name}'")
            if here[key].is_thing != there[key].is_thing:
                now, before = ("thing", "stuff") if there[key].is_thing else ("stuff", "thing")
                parts.append(f"id {key} '{there[key].name}' is {now} instead of {before}")
        return shown_ids(parts, 5, "; ")

    def to_json(self) -> list[dict[str, object]]:
        """COCO's `categories` list, things first."""
        return [
            {
                "id": category.id,
                "name": category.name,
                "supercategory": category.supercategory,
                "isthing": int(category.is_thing),
                "color": list(category.color),
            }
            for category in self
        ]

    @classmethod
    def of(cls, categories: Iterable[Category]) -> "CategoryTable":
        """The table of some categories, in any order, each with an id of its own."""
        ordered = sorted(categories, key=lambda category: category.id)
        things = tuple(category for category in ordered if category.is_thing)
        return cls(things, tuple(category for category in ordered if not category.is_thing))

    @classmethod
    def from_json(cls, entries: object, where: str = "category table") -> "CategoryTable":
        """Read COCO's `categories` list, in any order; `where` names it in errors.

        Raises `DatasetError` for an empty or contradictory list.
        """
        listed = JsonObject({"categories": entries}, where).objects("categories")
        categories: dict[int, Category] = {}
        for category in map(Category.from_json, listed):
            if (other := categories.setdefault(category.id, category)) is not category:
                names = f"'{other.name}' and '{category.name}'"
                raise DatasetError(f"{where}: category id {category.id} is listed twice, {names}; remove one")
        if not categories:
            raise DatasetError(f"{where}: the category list is empty; list at least one category")
        return cls.of(categories.values())

    @cached_property
    def _labels(self) -> dict[int, int]:
        return {category.id: label for label, category in enumerate(self)}


def _color(entry: JsonObject) -> tuple[int, int, int]:
    written = entry.values["color"]
    on_web = isinstance(written, str) and re.fullmatch("#[0-9a-fA-F]{6}", written)  # COCO Annotator writes it so
    color = list(bytes.fromhex(on_web.string[1:])) if on_web else entry.integers("color")
    if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
        found = f"'color' should be three numbers 0..255, found {color}"
        raise FieldError(entry.where, found, "correct it, or leave it out")
    return color[0], color[1], color[2]


def _color_for(category_id: int) -> tuple[int, int, int]:
    """A color for a category that has none: the same for the same id, and well apart for neighboring ids."""
    return (category_id * 67 + 90) % 256, (category_id * 131 + 40) % 256, (category_id * 197 + 150) % 256
