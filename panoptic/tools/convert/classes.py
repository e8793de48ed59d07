"""Class tables of own data: which names are things, which are stuff, and the meaning of values in semantic PNGs.

A YAML or JSON file such as

    things: [coin, key]       # countable: each instance is a segment
    stuff: [table, paper]     # not countable: one segment per image
    void: [unsure]            # annotated, but neither learned nor scored
    values: {0: void, 1: table, 2: paper, 3: coin}   # only for semantic PNGs: the classes of their pixel values

Classes get the ids 1, 2, ... in this order. Instead of `things` and `stuff`, the file may have `categories`, a list in
COCO's panoptic format (an existing category table or panoptic JSON), whose ids are kept. Without `values`, the values
in semantic PNGs are these ids, and 0 is void.
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
    """The classes; `values` maps pixel values of semantic PNGs to category ids (0: void)."""

    categories: CategoryTable
    void: frozenset[str] = frozenset()
    values: Mapping[int, int] = field(default_factory=dict)

    def find(self, name: str, where: str) -> Category | None:
        """Find a class by name, None for void. Raises `DatasetError` for a name that the table does not have."""
        names = {category.name: category for category in self.categories}
        if name in names:
            return names[name]
        if name in self.void:
            return None
        close = difflib.get_close_matches(name, [*names, *self.void], n=1)
        guess = f" (did you mean '{close[0]}'?)" if close else ""
        raise DatasetError(f"{where}: the class '{name}' is unknown{guess}; correct it, or add it to the class table")


def read_classes(path: Path) -> ClassTable:
    """Read a class table. Raises `DatasetError` for a file that is not one, or that contradicts itself."""
    document = _read(path)
    unknown = [str(key) for key in document.values if key not in _KEYS]
    if unknown and not document.has("categories"):
        raise DatasetError(f"{path}: unknown key '{unknown[0]}'; expected {', '.join(_KEYS)}")
    categories = _categories(document)
    void = _names(document, "void")
    counts = Counter([category.name for category in categories] + void)
    duplicates = [name for name, count in counts.items() if count > 1]
    if duplicates:
        raise DatasetError(f"{path}: the class '{duplicates[0]}' is listed twice; remove one")
    table = ClassTable(categories, frozenset([*void, VOID_NAME]))
    return replace(table, values=_values(document, table))


def things_only(entries: Iterator[JsonObject], where: str) -> ClassTable:
    """Read the categories of COCO's instance format, all of which are things unless `isthing` says otherwise."""
    listed = [entry.values if entry.has("isthing") else {**entry.values, "isthing": 1} for entry in entries]
    return ClassTable(CategoryTable.from_json(listed, where))


def _read(path: Path) -> JsonObject:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; check the path") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    try:
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        language = "JSON" if path.suffix == ".json" else "YAML"
        raise DatasetError(f"{path}: not valid {language} ({' '.join(str(error).split())}); correct it") from None
    if isinstance(document, list):
        document = {"categories": document}
    if not isinstance(document, dict):
        raise DatasetError(f"{path}: expected keys such as 'things: [coin, key]'; found {type(document).__name__}")
    return JsonObject(document, str(path))


def _categories(document: JsonObject) -> CategoryTable:
    if document.has("categories"):
        if document.has("things") or document.has("stuff"):
            raise DatasetError(f"{document.where}: give either 'categories', or 'things' and 'stuff'")
        return CategoryTable.from_json(document.values["categories"], document.where)
    labels = [(name, is_thing) for key, is_thing in (("things", 1), ("stuff", 0)) for name in _names(document, key)]
    if not labels:
        raise DatasetError(f"{document.where}: no class is listed; give 'things', 'stuff', or both")
    entries = [{"id": key, "name": name, "isthing": is_thing} for key, (name, is_thing) in enumerate(labels, start=1)]
    return CategoryTable.from_json(entries, document.where)


def _names(document: JsonObject, key: str) -> list[str]:
    """Read a list of names; YAML reads unquoted words such as `yes` and `no` as other types."""
    names = document.values.get(key) or []
    if not isinstance(names, list):
        raise DatasetError(f"{document.where}: '{key}' should be a list of names, found {names!r}; correct it")
    for name in names:
        if not isinstance(name, str) or not name:
            raise DatasetError(f"{document.where}: {key}: {name!r} is not a name; quote it")
    return names


def _values(document: JsonObject, table: ClassTable) -> dict[int, int]:
    if not document.has("values"):
        return {VOID: VOID, **{category.id: category.id for category in table.categories}}
    listed = document.values["values"]
    if not isinstance(listed, dict):
        raise DatasetError(f"{document.where}: 'values' should map each value to a class, such as 1: table; correct it")
    values = {}
    for value, name in listed.items():
        # Keys of JSON are always strings.
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if type(number) is not int or number < 0 or not isinstance(name, str):
            raise DatasetError(f"{document.where}: values: {value!r}: {name!r} should be a number and a class name")
        category = table.find(name, f"{document.where}: values: {value}")
        values[number] = VOID if category is None else category.id
    return values
