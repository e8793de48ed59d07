"""COCO's instance format as CVAT, Label Studio, Roboflow, COCO Annotator and LabelMe's exporter write it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from panoptic.instances.detection_json import encode_mask
from panoptic.tools.convert.__main__ import main
from tests.panoptic.tools.convert.made_own_data import HEIGHT, WIDTH, read_split, write_classes, write_image

SQUARE = [2.5, 2.5, 8.5, 2.5, 8.5, 8.5, 2.5, 8.5]  # 36 pixels
AREA = 36
Json = dict[str, object]


def _image(image_id: object, name: str, **more: object) -> Json:
    return {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH} | more


def _source(tmp_path: Path, images: Sequence[Json], annotations: Sequence[Json], categories: object) -> list[str]:
    """Write an instance JSON and its images, and return the arguments that convert them."""
    for name in {str(image["file_name"]).replace("\\", "/") for image in images}:
        write_image(tmp_path / "images" / name.removeprefix("images/"))
    document: Json = {"info": None, "licenses": None, "images": images, "annotations": annotations}
    source = tmp_path / "instances.json"
    source.write_text(json.dumps(document | {"categories": categories}))
    return [str(source), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "out")]


def _categories(tmp_path: Path) -> list[tuple[int, str]]:
    document = json.loads((tmp_path / "out" / "annotations" / "panoptic_train.json").read_text())
    return [(entry["id"], entry["name"]) for entry in document["categories"]]


def _one(tmp_path: Path, *annotations: Json) -> list[str]:
    listed = [{"id": number, "image_id": 0, "category_id": 1} | fields for number, fields in enumerate(annotations)]
    return _source(tmp_path, [_image(0, "a.png")], listed, [{"id": 1, "name": "coin"}])


def test_labelme_exporter_with_nulls_and_a_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = _image(0, "JPEGImages/a.png", license=0, url=None, date_captured=None)
    annotation: Json = {"id": 0, "image_id": 0, "category_id": 1, "segmentation": [SQUARE], "iscrowd": 0}
    names = enumerate(("_background_", "cat"))
    categories = [{"supercategory": None, "id": number, "name": name} for number, name in names]
    main(_source(tmp_path, [image], [annotation | {"area": 36.0, "bbox": [2, 2, 6, 6]}], categories))
    assert read_split(tmp_path / "out")["JPEGImages/a.png"].area("cat") == AREA
    assert _categories(tmp_path) == [(0, "_background_"), (1, "cat")]
    assert "note: no image shows '_background_' (1 of the classes)" in capsys.readouterr().out


def test_every_optional_field_may_be_null(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("iscrowd", "area", "bbox", "id", "score", "attributes"))
    image = _image(0, "a.png", license=None, flickr_url=None, coco_url=None, date_captured=None)
    category: Json = {"id": 1, "name": "coin", "supercategory": None, "color": None, "isthing": None, "keypoints": None}
    annotation: Json = {"image_id": 0, "category_id": 1, "segmentation": [SQUARE]}
    main(_source(tmp_path, [image], [annotation | nothing], [category]))
    converted = read_split(tmp_path / "out")["a.png"]
    assert converted.area("coin") == AREA
    assert [segment.is_crowd for segment in converted.annotation.segments] == [False]


def test_label_studio_with_paths_of_windows_and_ids_from_0(tmp_path: Path) -> None:
    images = [_image(1, "images\\b.png"), _image(0, "images\\a.png")]
    fields: Json = {"category_id": 0, "ignore": 0, "iscrowd": 0, "area": 36, "segmentation": [SQUARE]}
    annotations = [{"id": number, "image_id": number} | fields for number in (1, 0)]
    main(_source(tmp_path, images, annotations, [{"id": 1, "name": "dog"}, {"id": 0, "name": "car"}]))
    converted = read_split(tmp_path / "out")
    assert {name: (image.annotation.image_id, image.area("car")) for name, image in converted.items()} == {
        "a.png": (0, AREA),
        "b.png": (1, AREA),
    }
    assert _categories(tmp_path) == [(0, "car"), (1, "dog")]


def test_roboflow_with_a_parent_category_beside_the_images(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "coins-4x", "supercategory": "none"}]
    categories += [{"id": 1, "name": "coin", "supercategory": "coins-4x"}]
    annotation: Json = {"id": 0, "image_id": 0, "category_id": 1, "segmentation": [SQUARE], "iscrowd": 0}
    image = _image(0, "a_png.rf.0123.png", extra={"name": "a.png"}, license=1)
    arguments = _source(tmp_path, [image], [annotation], categories)
    moved = (tmp_path / "instances.json").rename(tmp_path / "images" / "_annotations.coco.json")
    classes = write_classes(tmp_path, "things: [coin]")
    main([str(moved), *arguments[1:], "--classes", str(classes)])
    assert read_split(tmp_path / "out")["a_png.rf.0123.png"].area("coin") == AREA
    assert _categories(tmp_path) == [(1, "coin")]


def test_coco_annotator_with_colors_of_the_web_and_parts_without_area(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    category: Json = {"id": 3, "name": "coin", "supercategory": "", "color": "#e7a2b8", "metadata": {}}
    image = _image(7, "a.png", path="/datasets/a.png", category_ids=[3], deleted=False)
    annotation: Json = {"id": 1, "image_id": 7, "category_id": 3, "isbbox": False, "color": "#fff"}
    parts = [SQUARE, [1, 1, 5, 5], [20, 20], [20, 2, 24, 2, 24, 6, 20, 6]]
    arguments = _source(tmp_path, [image], [annotation | {"segmentation": parts, "iscrowd": False}], [category])
    main(arguments)
    converted = read_split(tmp_path / "out")["a.png"]
    assert (converted.area("coin"), converted.count("coin")) == (AREA + 16, 1)
    written = json.loads((tmp_path / "out" / "annotations" / "panoptic_train.json").read_text())["categories"]
    assert written[0]["color"] == [0xE7, 0xA2, 0xB8]
    where = f"{arguments[0]}: annotations[0] ('a.png')"
    note = f"parts of outlines with fewer than 3 points, which have no area, left out: 2 ({where}, {where})"
    assert note in capsys.readouterr().out


def test_cvat_with_brush_strokes_as_uncompressed_rle(tmp_path: Path) -> None:
    counts = [HEIGHT * 20, 10, HEIGHT * WIDTH - HEIGHT * 20 - 10]
    brush: Json = {"segmentation": {"counts": counts, "size": [HEIGHT, WIDTH]}, "iscrowd": 1}
    packed: Json = {"segmentation": encode_mask(np.eye(HEIGHT, WIDTH, dtype=bool))}
    main([*_one(tmp_path, brush, packed), "--no-crowds"])
    converted = read_split(tmp_path / "out")["a.png"]
    assert (converted.area("coin"), converted.count("coin")) == (10 + HEIGHT, 2)
    assert not any(segment.is_crowd for segment in converted.annotation.segments)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": [], "bbox": [1, 1, 5, 5]}, "has only a box; draw the outline, or remove it"),
        ({"segmentation": None, "bbox": [1, 1, 5, 5]}, "has only a box; draw the outline, or remove it"),
        ({"bbox": [1, 1, 5, 5]}, "has only a box; draw the outline, or remove it"),
        ({"segmentation": [], "bbox": None}, "'segmentation' should be RLE, or polygons"),
        ({}, "'segmentation' should be RLE, or polygons"),
        ({"segmentation": [[1, 1, 5, 5]]}, "a polygon of 2 points has no area; draw 3 or more, or remove it"),
        ({"segmentation": SQUARE}, "'segmentation' should be RLE, or polygons"),
        ({"segmentation": [["1", "1", "5", "1", "5", "5"]]}, "'segmentation' should be RLE, or polygons"),
        ({"segmentation": [SQUARE], "iscrowd": 2}, "'iscrowd' should be 0 or 1, found 2"),
        ({"segmentation": [SQUARE], "category_id": None}, "'category_id' should be"),
        ({"segmentation": [SQUARE], "category_id": 4}, "category 4 is not in 'categories'; add it there"),
        ({"segmentation": [SQUARE], "image_id": 5}, "image id 5 is not in 'images'; add the image"),
        (
            {"segmentation": [SQUARE], "image_id": "10"},
            "image id '10' is not in 'images'; write ids of one type, here are '10' and ",
        ),
        ({"segmentation": {"counts": [1, 2], "size": [HEIGHT, WIDTH]}}, "its runs do not fill 24 x 32 pixels"),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], annotation: Json, message: str
) -> None:
    with pytest.raises(SystemExit):
        main(_one(tmp_path, annotation))
    errors = capsys.readouterr().err
    assert f"{tmp_path}/instances.json: annotations[0]" in errors
    assert message in errors


@pytest.mark.parametrize("field", ["height", "width", "file_name", "id"])
def test_images_without_a_size_or_name_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str
) -> None:
    source = Path(_one(tmp_path, {"segmentation": [SQUARE]})[0])
    document = json.loads(source.read_text())
    for value, message in ((None, "should be "), (0, f"the field '{field}' is missing; add it")):
        document["images"][0][field] = None
        if value == 0:
            del document["images"][0][field]
        source.write_text(json.dumps(document))
        with pytest.raises(SystemExit):
            main([str(source), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "out")])
        errors = capsys.readouterr().err
        assert "images[0]" in errors
        assert message in errors


def test_category_ids_of_text_need_a_class_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    categories = [{"id": key, "name": name} for key, name in (("c9", "coin"), ("c2", "key"))]
    annotation: Json = {"id": "x", "image_id": 0, "category_id": "c9", "segmentation": [SQUARE]}
    arguments = _source(tmp_path, [_image(0, "a.png")], [annotation], categories)
    with pytest.raises(SystemExit):
        main(arguments)
    assert "category ids are text (c9, c2); give a class table with --classes" in capsys.readouterr().err
    arguments += ["--classes", str(write_classes(tmp_path, "things: [key, coin]"))]
    main(arguments)
    assert read_split(tmp_path / "out")["a.png"].area("coin") == AREA
    _source(tmp_path, [_image(0, "a.png")], [annotation | {"category_id": 9}], categories)
    with pytest.raises(SystemExit):
        main(arguments)
    assert "category 9 is not in 'categories'" in capsys.readouterr().err


CARS = [{"id": 1, "name": "car"}, {"id": 2, "name": "car"}, {"id": 3, "name": "bus"}]


def _cars(tmp_path: Path) -> list[str]:
    annotations = []
    for number, (left, category) in enumerate(((2, 1), (10, 2), (18, 3), (26, 2))):
        outline = [left, 2, left + 4, 2, left + 4, 6, left, 6]
        annotations.append({"id": number, "image_id": 0, "category_id": category, "segmentation": [outline]})
    return _source(tmp_path, [_image(0, "a.png")], annotations, CARS)


def _found(tmp_path: Path) -> list[int]:
    return sorted(segment.category_id for segment in read_split(tmp_path / "out")["a.png"].annotation.segments)


def test_categories_of_one_name_keep_their_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(_cars(tmp_path))
    assert _found(tmp_path) == [1, 2, 2, 3]
    assert "thing segments: car (id 1) 1, car (id 2) 2, bus 1" in capsys.readouterr().out
    table = [entry | {"isthing": int(entry["id"] != 2)} for entry in CARS]
    (tmp_path / "classes.json").write_text(json.dumps(table))
    main([*_cars(tmp_path), "--classes", str(tmp_path / "classes.json")])
    assert _found(tmp_path) == [1, 2, 3]  # both cars of id 2 are one segment of stuff
    assert "images with stuff: car (id 2) 1" in capsys.readouterr().out


def test_a_class_table_with_the_name_once_joins_them_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*_cars(tmp_path), "--classes", str(write_classes(tmp_path, "things: [car, bus]"))])
    assert _found(tmp_path) == [1, 1, 1, 2]
    note = "annotations of categories that share a name, and count as the class of that name: 2 ("
    assert f"{note}{tmp_path}/instances.json: annotations[1]: category 2 is 'car', " in capsys.readouterr().out


def test_a_name_that_is_listed_twice_without_a_matching_id_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = [{"id": key, "name": name, "isthing": 1} for key, name in ((7, "car"), (2, "car"), (3, "bus"))]
    (tmp_path / "classes.json").write_text(json.dumps(table))
    with pytest.raises(SystemExit):
        main([*_cars(tmp_path), "--classes", str(tmp_path / "classes.json")])
    errors = capsys.readouterr().err
    assert "1 issue found" in errors  # the cars of id 2 are unambiguous
    assert "annotations[0]: several classes are named 'car' (ids 2, 7); name each differently" in errors
