"""The classes of own data: which names are things, which are stuff, and what the values of semantic PNGs mean.

A YAML or JSON file such as

    things: [coin, key]       # countable: each one is a segment of its own
    stuff: [table, paper]     # not countable: one segment an image
    void: [unsure]            # drawn, but neither learnt nor scored
    values: {0: void, 1: table, 2: paper, 3: coin}   # only for semantic PNGs: what their pixels' values mean

Classes get the ids 1, 2, ... in this order. In place of `things` and `stuff` there may be `categories`, a list in
COCO's panoptic format (a category table or panoptic JSON that exists already), whose ids are kept. Without `values`,
the values in semantic PNGs are these ids, and 0 is void.
"""

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import VOID
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject

VOID_NAME = "void"
_KEYS = ("things", "stuff", "void", "values", "categories")


@dataclass(frozen=True)
class ClassTable:
    """Classes by name; `values` are the pixel values of semantic PNGs, as category ids (0: void)."""

    categories: CategoryTable
    void: frozenset[str] = frozenset()
    values: Mapping[int, int] = field(default_factory=dict)

    def find(self, name: str, where: str) -> Category | None:
        """The class of a name, None for void. Raises `DatasetError` for one that the table does not have."""
        names = {category.name: category for category in self.categories}
        if name in names:
            return names[name]
        if name in self.void:
            return None
        close = difflib.get_close_matches(name, [*names, *self.void], n=1)
        guess = f" (is '{close[0]}' meant?)" if close else ""
        raise DatasetError(f"{where}: the class '{name}' is unknown{guess}; correct it, or add it to the class table")


def read_classes(path: Path) -> ClassTable:
    """Read a class table. Raises `DatasetError` for a file that is none, or that contradicts itself."""
    document = _read(path)
    unknown = [str(key) for key in document.values if key not in _KEYS]
    if unknown and "categories" not in document.values:
        raise DatasetError(f"{path}: unknown key '{unknown[0]}'; there are: {', '.join(_KEYS)}")
    categories = _categories(document)
    void = _names(document, "void")
    counts = Counter([category.name for category in categories] + void)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DatasetError(f"{path}: the class '{twice[0]}' is listed twice; remove one")
    table = ClassTable(categories, frozenset([*void, VOID_NAME]))
    return replace(table, values=_values(document, table))


def things_only(entries: Iterator[JsonObject], where: str) -> ClassTable:
    """The categories of COCO's instance format, which are all things unless `isthing` says otherwise."""
    listed = [{"isthing": 1, **entry.values} for entry in entries]
    return ClassTable(CategoryTable.from_json(listed, where))


def _read(path: Path) -> JsonObject:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; check the path") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: not a text in UTF-8; save it as such") from None
    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise DatasetError(f"{path}: not valid {kind} ({' '.join(str(error).split())}); correct it") from None
    if isinstance(document, list):
        document = {"categories": document}
    if not isinstance(document, dict):
        raise DatasetError(f"{path}: expected keys such as 'things: [coin, key]'; found {type(document).__name__}")
    return JsonObject(document, str(path))


def _categories(document: JsonObject) -> CategoryTable:
    if "categories" in document.values:
        if "things" in document.values or "stuff" in document.values:
            raise DatasetError(f"{document.where}: give either 'categories', or 'things' and 'stuff'")
        return CategoryTable.from_json(document.values["categories"], document.where)
    kinds = [(name, is_thing) for key, is_thing in (("things", 1), ("stuff", 0)) for name in _names(document, key)]
    if not kinds:
        raise DatasetError(f"{document.where}: no class is listed; give 'things', 'stuff', or both")
    entries = [{"id": place, "name": name, "isthing": kind} for place, (name, kind) in enumerate(kinds, start=1)]
    return CategoryTable.from_json(entries, document.where)


def _names(document: JsonObject, key: str) -> list[str]:
    """YAML reads some words, as `yes` and `no`, as other things than texts."""
    names = document.values.get(key) or []
    if not isinstance(names, list):
        raise DatasetError(f"{document.where}: '{key}' should be a list of names, found {names!r}; correct it")
    for name in names:
        if not isinstance(name, str) or not name:
            raise DatasetError(f"{document.where}: {key}: {name!r} is no name; put it into quotation marks")
    return names


def _values(document: JsonObject, table: ClassTable) -> dict[int, int]:
    if "values" not in document.values:
        return {VOID: VOID, **{category.id: category.id for category in table.categories}}
    listed = document.values["values"]
    if not isinstance(listed, dict):
        raise DatasetError(f"{document.where}: 'values' should say for each value its class, as 1: table; correct it")
    values = {}
    for value, name in listed.items():
        # The keys of JSON are always texts.
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if type(number) is not int or number < 0 or not isinstance(name, str):
            raise DatasetError(f"{document.where}: values: {value!r}: {name!r} should be a number and a class's name")
        category = table.find(name, f"{document.where}: values: {value}")
        values[number] = VOID if category is None else category.id
    return values
