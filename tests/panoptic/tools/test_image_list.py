"""Lists of images and categories are read, and wrong lists are refused with every issue."""

import json
from pathlib import Path

import pytest

from panoptic.format.categories import CategoryTable
from panoptic.format.panoptic_json import ImageEntry
from panoptic.io.errors import DatasetError
from panoptic.tools.image_list import read_categories, read_image_list
from tests.tiny_dataset import CATEGORIES

FIRST = {"id": 7, "file_name": "b.jpg", "height": 3, "width": 4, "license": 2}
SECOND = {"id": 2, "file_name": "a.jpg", "height": 5, "width": 6}


def _write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_images_come_in_the_order_of_the_list(tmp_path: Path) -> None:
    # The categories of COCO's test lists say nothing of things and stuff; nobody asks for them here.
    path = _write(tmp_path / "info.json", {"images": [FIRST, SECOND], "categories": [{"id": 1, "name": "person"}]})
    assert read_image_list(path) == (ImageEntry(7, "b.jpg", 3, 4), ImageEntry(2, "a.jpg", 5, 6))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "'images' is empty"),
        ([FIRST, SECOND | {"id": 7}], r"images\[1\]: image id 7 is listed twice"),
        ([FIRST, SECOND | {"file_name": "b.jpg"}], "image ids 7 and 2 share 'b.jpg'"),
        ([FIRST, SECOND | {"id": "2"}], "info.json: image ids of two types, 7 and '2'; write all as integers"),
        ([FIRST | {"width": 0}], r"images\[0\]: the size is 3 x 0"),
        ([FIRST | {"height": "3"}], "'height' should be an integer"),
        ([{"id": 1}, {"id": "x"}, SECOND], "2 issues found"),
        ({"7": FIRST}, "'images' should be a list"),
    ],
)
def test_a_wrong_list_of_images_is_refused(tmp_path: Path, images: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_image_list(_write(tmp_path / "info.json", {"images": images}))


def test_categories_are_read_from_an_object_and_from_a_bare_list(tmp_path: Path) -> None:
    table = CategoryTable.from_json(CATEGORIES)
    assert read_categories(_write(tmp_path / "object.json", {"categories": CATEGORIES, "images": []})) == table
    assert read_categories(_write(tmp_path / "list.json", CATEGORIES)) == table


def test_a_file_without_categories_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path, message in (
        (_write(tmp_path / "object.json", {"images": []}), "the field 'categories' is missing"),
        (_write(tmp_path / "text.json", "person"), "'categories' should be a list"),
        (tmp_path / "broken.json", "not valid JSON"),
        (tmp_path / "deep.json", "not valid JSON"),
        (tmp_path / "none.json", "no such file"),
    ):
        with pytest.raises(DatasetError, match=message):
            read_categories(path)
