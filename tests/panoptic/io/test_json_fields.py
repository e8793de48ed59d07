"""Typed fields of JSON objects: wrong ones are refused with where, what was found, and what to do."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import FieldError, JsonObject, load_json

OBJECT = JsonObject({"text": "x", "number": 1.5, "integer": 3, "list": [1, {"id": 2}], "huge": 10**400}, "a.json")
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "missing": (lambda: OBJECT.integer("id"), "the field 'id' is missing"),
    "text": (lambda: OBJECT.text("integer"), "'integer' should be a text, found 3"),
    "integer": (lambda: OBJECT.integer("number"), "'number' should be an integer, found 1.5"),
    "number": (lambda: OBJECT.number("huge"), "'huge' should be a finite number, found 1000"),
    "flag": (lambda: OBJECT.flag("integer"), "'integer' should be 0 or 1, found 3"),
    "list": (lambda: list(OBJECT.objects("text")), "'text' should be a list, found 'x'"),
    "item": (lambda: list(OBJECT.objects("list")), r"'list\[0\]' should be an object, found 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_named_with_its_value(name: str) -> None:
    read, found = WRONG[name]
    with pytest.raises(FieldError, match=f"^a.json: {found}.*; (correct|add) it$") as caught:
        read()
    again = pickle.loads(pickle.dumps(caught.value))  # errors come from worker processes
    assert (str(again), again.where, again.hint) == (str(caught.value), "a.json", caught.value.hint)


def test_items_go_on_after_one_that_is_not_an_object() -> None:
    error, item = OBJECT.items("list")
    assert isinstance(error, FieldError)
    assert isinstance(item, JsonObject)
    assert (item.where, item.integer("id")) == ("a.json: list[1]", 2)


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "is a folder; give a file that can be read"),
    "pipe": (os.mkfifo, "is a named pipe; give a file that can be read"),
    "dangling link": (
        lambda path: path.symlink_to("gone"),
        "is a link to gone, which does not exist; give a file that can be read",
    ),
    "nothing": (lambda path: None, "there is no such file; check the path"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_named_at_once(tmp_path: Path, kind: str) -> None:
    make, found = NO_FILES[kind]
    make(tmp_path / "a.json")
    with pytest.raises(DatasetError, match=f"a.json: {found}$"):
        load_json(tmp_path / "a.json")
