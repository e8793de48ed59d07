"""Typed reading of JSON documents, whose errors name the file and the position inside it, and writing them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TypeGuard

from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.names import normal_name
from panoptic.io.reading import read_file


class FieldError(DatasetError):
    """A missing or wrong field, in three parts: where it is, what was found there, and what to do about it."""

    def __init__(self, where: str, found: str, hint: str) -> None:
        super().__init__(where, found, hint)
        self.where, self.found, self.hint = self.args

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; {self.hint}"


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object and its position in the document, for example `val.json: images[3]`.

    Every method raises `FieldError` if the field is missing or of another type than the method's name says.
    """

    values: Mapping[str, object]
    where: str

    @classmethod
    def of(cls, document: object, where: str) -> "JsonObject":
        """Raises `DatasetError` if the document is no object."""
        if not isinstance(document, dict):
            raise DatasetError(f"{where}: expected a JSON object, found a {type(document).__name__}; correct it")
        return cls(document, where)

    def has(self, key: str) -> bool:
        """Tell whether a field is there; many programs write null where they have nothing to say."""
        return self.values.get(key) is not None

    def identifier(self, key: str) -> int | str:
        """An integer of 64 bits or a text, by which entries refer to each other."""
        value = self._value(key)
        if not is_identifier(value):
            raise self._wrong(key, "an integer of 64 bits or a text", value)
        return value

    def identifiers(self, key: str) -> list[int | str]:
        value = self._value(key)
        if not isinstance(value, list) or not all(map(is_identifier, value)):
            raise self._wrong(key, "a list of integers or texts", value)
        return value

    def integer(self, key: str) -> int:
        """An integer of 64 bits: indices hold no more, and longer ones may have no float."""
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, "an integer", value)
        if value.bit_length() > 63:
            raise FieldError(self.where, f"'{key}' is {value!r:.60}, more than 64 bits", "give a smaller one")
        return value

    def number(self, key: str) -> float:
        value = self._value(key)
        if not is_number(value):
            raise self._wrong(key, "a finite number", value)
        return value

    def optional_number(self, key: str) -> float | None:
        """A finite number; None where the field is null or missing."""
        return self.number(key) if self.has(key) else None

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a text", value)
        return value

    def file_name(self, key: str = "file_name") -> str:
        """The name of a file in normal form."""
        return normal_name(self.text(key))

    def flag(self, key: str) -> bool:
        """A Boolean, which COCO writes as 0 or 1."""
        value = self._value(key)
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise self._wrong(key, "0 or 1", value)
        return bool(value)

    def integers(self, key: str) -> list[int]:
        value = self._value(key)
        if not isinstance(value, list) or not all(type(item) is int and item.bit_length() < 64 for item in value):
            raise self._wrong(key, "a list of integers of 64 bits", value)
        return value

    def numbers(self, key: str, count: int) -> list[float]:
        value = self._value(key)
        if not isinstance(value, list) or len(value) != count or not all(map(is_number, value)):
            raise self._wrong(key, f"a list of {count} finite numbers", value)
        return value

    def child(self, key: str) -> "JsonObject":
        value = self._value(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        return JsonObject(value, f"{self.where}: {key}")

    def objects(self, key: str) -> Iterator["JsonObject"]:
        """Each object of a list; an item that is not an object is an error."""
        for item in self.items(key):
            if isinstance(item, FieldError):
                raise item
            yield item

    def items(self, key: str) -> Iterator["JsonObject | FieldError"]:
        """Each object of a list; for an item that is not an object, the error to raise or to report."""
        value = self._value(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list", value)
        for position, item in enumerate(value):
            if isinstance(item, dict):
                yield JsonObject(item, f"{self.where}: {key}[{position}]")
            else:
                yield self._wrong(f"{key}[{position}]", "an object", item)

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise FieldError(self.where, f"the field '{key}' is missing", "add it")
        return self.values[key]

    def _wrong(self, key: str, expected: str, value: object) -> FieldError:
        found = "null" if value is None else f"{value!r:.60}"
        return FieldError(self.where, f"'{key}' should be {expected}, found {found}", "correct it")


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value of a JSON document is a finite number."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() < 64  # longer ones may have no float
    return isinstance(value, float) and isfinite(value)


def is_identifier(value: object) -> TypeGuard[int | str]:
    """Tell whether a value of a JSON document is an integer of 64 bits, or a text that can be written to a file."""
    if isinstance(value, str):
        return bool(value) and value.encode(errors="replace").decode() == value
    return type(value) is int and value.bit_length() < 64


def read_json(path: Path) -> JsonObject:
    """Read a JSON file that holds one object. Raises `DatasetError` naming the file."""
    return JsonObject.of(load_json(path), str(path))


def load_json(path: Path) -> object:
    """Read any JSON file. Raises `DatasetError` naming the file."""
    return parse_json(read_file(path), str(path))


def parse_json(data: bytes, where: str) -> object:
    """Parse the content of a JSON file; raises `DatasetError`, also for nesting too deep for Python's parser."""
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not valid JSON ({error}); write or fetch the file again") from None
    return document


def encode_json(document: object) -> bytes:
    """Encode a document as a JSON file for people and programs."""
    return (json.dumps(document, indent=1) + "\n").encode()


def write_json(path: Path, document: object) -> None:
    """Write a document as a JSON file, like `write_atomically`."""
    write_atomically(path, encode_json(document))
