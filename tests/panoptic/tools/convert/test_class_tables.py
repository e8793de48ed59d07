"""Class tables as editors and other programs write them."""

import json
import unicodedata
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.tools.convert.__main__ import main
from panoptic.tools.convert.classes import ClassTable, read_classes
from tests.panoptic.tools.convert.made_own_data import box, read_split, shape, write_labelme

NFC, NFD = (unicodedata.normalize(form, "Münze") for form in ("NFC", "NFD"))


def _read(tmp_path: Path, name: str, content: bytes) -> ClassTable:
    (tmp_path / name).write_bytes(content)
    return read_classes(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.yaml", b"\xef\xbb\xbfthings: [coin]\r\nstuff: [table]\r\n"),
        ("bom.json", b'\xef\xbb\xbf{"things": ["coin"], "stuff": ["table"]}'),
        ("old_mac.yaml", b"things: [coin]\rstuff: [table]\r"),
        ("tabs.json", b'{\t"things":\t["coin"],\r\n\t"stuff": ["table"]}'),
        ("nulls.yaml", b"things: [coin]\nstuff: [table]\nvoid:\nvalues: ~\ncategories: null\n"),
        ("quoted.yaml", b'things: ["coin"]\nstuff: [\'table\']\nvalues: {"1": coin, "2": "table", "0": void}\n'),
    ],
)
def test_the_encoding_and_quotes_of_a_file_do_not_matter(tmp_path: Path, name: str, content: bytes) -> None:
    table = _read(tmp_path, name, content)
    assert [(category.id, category.name, category.is_thing) for category in table.categories] == [
        (1, "coin", True),
        (2, "table", False),
    ]
    assert {value: category and category.id for value, category in table.values.items()} == {0: None, 1: 1, 2: 2}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cp1252.yaml", "things: [Münze]".encode("cp1252"), "not UTF-8 text, but perhaps UTF-16 or Windows-1252; save"),
        ("utf16.yaml", "things: [coin]".encode("utf-16"), "not UTF-8 text"),
        ("utf16.json", b'{"things": ["coin"]}'.decode().encode("utf-16"), "not UTF-8 text"),
        ("utf16_without_bom.yaml", "things: [coin]".encode("utf-16-le"), "not UTF-8 text"),
        ("tabs.yaml", b"things:\n\t- coin\n", "replace its tabs by spaces"),
        ("twice.yaml", b"things: [coin]\nthings: [key]\n", "a key is listed twice"),
        ("twice.json", b'{"things": ["coin"], "things": ["key"]}', "the key 'things' is listed twice"),
        ("values.yaml", b'things: [coin]\nvalues: {1: coin, "1": void}\n', "values: 1 is listed twice"),
        ("forms.yaml", f"things: [{NFC}]\nvoid: [{NFD}]\n".encode(), f"'{NFC}' is listed twice"),
        ("number.yaml", b"things: [1]", "1 is not a name; quote it"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError) as error:
        _read(tmp_path, name, content)
    assert message in str(error.value)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(("listed", "drawn"), [(NFC, NFD), (NFD, NFC)])
def test_names_that_look_the_same_are_the_same(tmp_path: Path, listed: str, drawn: str) -> None:
    write_labelme(tmp_path / "photos", "a.png", [shape(drawn, "rectangle", box(1, 1, 5, 5))])
    (tmp_path / "classes.yaml").write_text(f"things: [{listed}]\nvoid: [other]\n", "utf-8")
    arguments = [str(tmp_path / "photos"), "--classes", str(tmp_path / "classes.yaml")]
    main([*arguments, "--out", str(tmp_path / "out")])
    assert read_split(tmp_path / "out")["a.png"].area(NFC) == 16


def test_colors_may_be_null_or_as_on_the_web(tmp_path: Path) -> None:
    entries = [
        {"id": 1, "name": "a", "isthing": 1, "color": "#1c4bDA"},
        {"id": 2, "name": "b", "isthing": 0, "color": None},
    ]
    table = _read(tmp_path, "categories.json", json.dumps(entries).encode())
    colors = [category.color for category in table.categories]
    assert colors == [(0x1C, 0x4B, 0xDA), (224, 46, 32)]
