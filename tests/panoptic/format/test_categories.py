import pickle
import unicodedata

import pytest

from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES


def _table(*changes: dict[str, object]) -> CategoryTable:
    """The tiny table with some entries replaced (by id) or added; a change with only an id removes."""
    entries = {entry["id"]: entry for entry in CATEGORIES} | {entry["id"]: entry for entry in changes}
    return CategoryTable.from_json([entry for entry in entries.values() if len(entry) > 1])


def test_things_come_first_both_in_order_of_id() -> None:
    table = _table()
    assert [category.id for category in table.things] == [3, 7]
    assert [category.id for category in table.stuff] == [11, 20]
    assert [table.label_of(category_id) for category_id in (3, 7, 11, 20)] == [0, 1, 2, 3]
    assert [table.category_of(label).id for label in range(len(table))] == [3, 7, 11, 20]
    assert [category.name for category in table] == ["ball", "star", "sky", "water"]


def test_json_and_pickle_round_trip() -> None:
    table = _table()
    assert CategoryTable.from_json(table.to_json()) == table
    assert pickle.loads(pickle.dumps(table)).label_of(20) == 3


def test_unknown_ids_and_labels_are_refused() -> None:
    table = _table()
    assert 3 in table
    assert 4 not in table
    with pytest.raises(DatasetError, match="category id 4"):
        table.label_of(4)
    for label in (-1, 4):
        with pytest.raises(ValueError, match="outside"):
            table.category_of(label)


def test_a_category_without_color_gets_one_of_its_own() -> None:
    table = _table({"id": 1, "name": "a", "isthing": 1}, {"id": 2, "name": "b", "isthing": 1})
    assert table.by_id(1).color != table.by_id(2).color
    assert all(0 <= channel <= 255 for category in table for channel in category.color)


def test_optional_fields_may_be_null_and_colors_as_on_the_web() -> None:
    entry = {"id": 1, "name": "a", "isthing": 1}
    plain, nothing = _table(entry).by_id(1), _table(entry | {"color": None, "supercategory": None}).by_id(1)
    assert nothing == plain
    assert _table(entry | {"color": "#1c4bDA"}).by_id(1).color == (0x1C, 0x4B, 0xDA)


def test_names_that_look_the_same_are_the_same() -> None:
    tables = [_table({"id": 1, "name": unicodedata.normalize(form, "Münze"), "isthing": 1}) for form in ("NFC", "NFD")]
    assert tables[0] == tables[1]
    assert tables[0].describe_difference(tables[1]) == ""


def test_names_of_several_classes_are_told_apart_by_id() -> None:
    table = _table({"id": 3, "name": "star", "isthing": 1})
    assert table.unique_names() == {3: "star (id 3)", 7: "star (id 7)", 11: "sky", 20: "water"}
    assert table.unique_names(taken=["sky"])[11] == "sky (id 11)"


def test_differences_are_described() -> None:
    table = _table()
    same = _table({"id": 3, "name": "ball", "isthing": 1, "color": [9, 9, 9]})
    assert table.describe_difference(same) == ""
    for other in (same, None):
        table.require_same(other, "val.json", "train.json")
    message = "val.json: other categories than train.json: id 3 'ball' is missing; use one list for both"
    with pytest.raises(DatasetError, match=message):
        table.require_same(_table({"id": 3}), "val.json", "train.json")
    assert table.describe_difference(_table({"id": 3})) == "id 3 'ball' is missing"
    assert table.describe_difference(_table({"id": 4, "name": "kite", "isthing": 1})) == "id 4 'kite' is new"
    renamed = table.describe_difference(_table({"id": 3, "name": "moon", "isthing": 1}))
    assert renamed == "id 3 is 'moon' instead of 'ball'"
    assert "is stuff instead of thing" in table.describe_difference(_table({"id": 3, "name": "ball", "isthing": 0}))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "empty"),
        ("ball", "should be a list"),
        ([{"id": 1, "name": "a", "isthing": 1}, {"id": 1, "name": "b", "isthing": 0}], "1 is listed twice"),
        ([{"id": 1, "isthing": 1}], "'name' is missing"),
        ([{"id": 1, "name": "a", "isthing": 2}], "0 or 1"),
        ([{"id": "1", "name": "a", "isthing": 1}], "an integer"),
        ([{"id": 1, "name": "a", "isthing": 1, "color": [0, 0, 256]}], "0..255"),
        ([{"id": 1, "name": "a", "isthing": 1, "color": "red"}], "a list of integers"),
        ([{"id": 2**63, "name": "a", "isthing": 1}], "more than 64 bits"),
    ],
)
def test_wrong_lists_are_refused_with_their_position(entries: object, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"val\.json.*{message}"):
        CategoryTable.from_json(entries, "val.json")
