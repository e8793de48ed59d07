"""Class tables of own data: which names are things, which are stuff, and the meaning of values in semantic PNGs.

A YAML or JSON file such as

    things: [coin, key]       # countable: each instance is a segment
    stuff: [table, paper]     # not countable: one segment per image
    void: [unsure]            # annotated, but neither learned nor scored
    values: {0: void, 1: table, 2: paper, 3: coin}   # only for semantic PNGs: the classes of their pixel values

Classes get the ids 1, 2, ... in this order. Instead of `things` and `stuff`, the file may have `categories`, a list in
COCO's panoptic format (an existing category table or panoptic JSON), whose ids are kept. Without `values`, the values
in semantic PNGs are these ids, and 0 is void unless it is one of them.
"""

import difflib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import yaml

from panoptic.format.categories import Category, CategoryTable
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.json_fields import JsonObject
from panoptic.io.names import normal_text
from panoptic.io.reading import read_text
from panoptic.io.yaml_text import UnboundedYamlError, require_plain_yaml

VOID_NAME = "void"
_KEYS = ("things", "stuff", "void", "values", "categories")


@dataclass(frozen=True)
class ClassTable:
    """The classes; `values` maps pixel values of semantic PNGs to classes, None for void."""

    categories: CategoryTable
    void: frozenset[str] = frozenset()
    values: Mapping[int, Category | None] = field(default_factory=dict)

    def find(self, name: str, where: str, category_id: int | str | None = None) -> Category | None:
        """Find a class by name, None for void; of several with that name, the one with the id of the annotation.

        Raises `DatasetError` for a name that the table does not have, or has several times and no id decides.
        """
        name = normal_text(name)
        named = self._by_name.get(name, ())
        if len(named) > 1:
            for category in named:
                if category.id == category_id:
                    return category
            ids = shown_ids([category.id for category in named])
            raise DatasetError(f"{where}: several classes are named '{name}' (ids {ids}); name each differently")
        if named:
            return named[0]
        if name in self.void:
            return None
        close = difflib.get_close_matches(name, [*self._by_name, *self.void], n=1)
        guess = f" (did you mean '{close[0]}'?)" if close else ""
        raise DatasetError(f"{where}: the class '{name}' is unknown{guess}; correct it, or add it to the class table")

    @cached_property
    def _by_name(self) -> Mapping[str, Sequence[Category]]:
        named: dict[str, list[Category]] = defaultdict(list)
        for category in self.categories:
            named[category.name].append(category)
        return dict(named)


def read_classes(path: Path) -> ClassTable:
    """Read a class table. Raises `DatasetError` for a file that is not one, or that contradicts itself."""
    document = _read(path)
    unknown = [str(key) for key in document.values if key not in _KEYS]
    if unknown and not document.has("categories"):
        raise DatasetError(f"{path}: unknown key '{unknown[0]}'; expected {', '.join(_KEYS)}")
    categories = _categories(document)
    void = _names(document, "void")
    # Classes that come with ids are told apart by them.
    listed = [category.name for category in categories]
    counts = Counter([*(set(listed) if document.has("categories") else listed), *void])
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
    text = read_text(path)
    try:
        if path.suffix == ".json":
            document = json.loads(text, object_pairs_hook=_without_repeats)
        else:
            require_plain_yaml(text, str(path))
            document = yaml.load(text, _StrictLoader)
    except UnboundedYamlError as error:
        raise DatasetError(str(error)) from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        language = "JSON" if path.suffix == ".json" else "YAML"
        found = " ".join(str(error).split())
        hint = "replace its tabs by spaces" if r"'\t'" in found else "correct it"
        raise DatasetError(f"{path}: not valid {language} ({found}); {hint}") from None
    if isinstance(document, list):
        document = {"categories": document}
    if not isinstance(document, dict):
        raise DatasetError(f"{path}: expected keys such as 'things: [coin, key]'; found {type(document).__name__}")
    return JsonObject(document, str(path))


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of JSON. Raises `ValueError` for a key that is listed twice, of which the last would count."""
    repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"the key '{repeated[0]}' is listed twice")
    return dict(pairs)


class _StrictLoader(yaml.SafeLoader):
    """Reads YAML, but refuses a key that is listed twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(problem="a key is listed twice", problem_mark=node.start_mark)
        return mapping


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
    return [normal_text(name) for name in names]


def _values(document: JsonObject, table: ClassTable) -> dict[int, Category | None]:
    if not document.has("values"):
        return {0: None, **{category.id: category for category in table.categories}}
    listed = document.values["values"]
    if not isinstance(listed, dict):
        raise DatasetError(f"{document.where}: 'values' should map each value to a class, such as 1: table; correct it")
    values: dict[int, Category | None] = {}
    for value, name in listed.items():
        # Keys of JSON are always strings.
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if type(number) is not int or number < 0 or not isinstance(name, str):
            raise DatasetError(f"{document.where}: values: {value!r}: {name!r} should be a number and a class name")
        if number in values:
            raise DatasetError(f"{document.where}: values: {number} is listed twice; remove one")
        values[number] = table.find(name, f"{document.where}: values: {value}")
    return values
