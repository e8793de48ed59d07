"""Conversion from COCO's instance format, class tables, and overlapping regions."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from panoptic.instances.detection_json import encode_mask
from panoptic.io.errors import DatasetError
from panoptic.tools.convert.__main__ import main
from panoptic.tools.convert.classes import read_classes
from tests.panoptic.tools.convert.made_own_data import (
    HEIGHT,
    WIDTH,
    ReadImage,
    box,
    read_split,
    shape,
    write_classes,
    write_coco,
    write_image,
    write_labelme,
)
from tests.tiny_dataset import CATEGORIES, STUFF, TinyImage, random_images, write_split


def _run(tmp_path: Path, source: Path, *options: str) -> None:
    main([str(source), "--out", str(tmp_path / "out"), *options])


def _coco(tmp_path: Path, annotations: list[dict[str, object]], *options: str) -> ReadImage:
    """Convert a single image."""
    source = write_coco(tmp_path, annotations)
    _run(tmp_path, source, "--images", str(tmp_path / "images"), *options)
    return read_split(tmp_path / "out")["a.png"]


def _mask(left: int, top: int, right: int, bottom: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def _rectangle(left: int, top: int, right: int, bottom: int, **more: object) -> dict[str, object]:
    return {"segmentation": [[left, top, right, top, right, bottom, left, bottom]]} | more


def test_polygons_rle_and_crowds_of_coco_are_converted(tmp_path: Path) -> None:
    counts = [HEIGHT * 20, 10, HEIGHT * WIDTH - HEIGHT * 20 - 10]  # column by column
    annotations = [
        _rectangle(1, 1, 5, 5),
        {"segmentation": encode_mask(_mask(8, 8, 12, 12)), "category_id": 9},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}, "iscrowd": 1},
    ]
    image = _coco(tmp_path, annotations)
    assert (image.area("coin"), image.count("coin"), image.area("key")) == (16 + 10, 2, 16)
    assert image.annotation.image_id == 10
    assert [segment.is_crowd for segment in image.annotation.segments] == [False, False, True]
    assert (image.names[:10, 20] == "coin").all()


def test_crowds_can_be_converted_to_instances(tmp_path: Path) -> None:
    image = _coco(tmp_path, [_rectangle(1, 1, 5, 5, iscrowd=1)], "--no-crowds")
    assert [segment.is_crowd for segment in image.annotation.segments] == [False]


def test_a_class_of_the_json_can_be_stuff(tmp_path: Path) -> None:
    classes = write_classes(tmp_path, "things: [key]\nstuff: [coin]\n")
    annotations = [_rectangle(1, 1, 5, 5), _rectangle(8, 1, 12, 5), _rectangle(3, 3, 10, 5, category_id=9)]
    image = _coco(tmp_path, annotations, "--classes", str(classes))
    assert (image.count("coin"), image.area("coin"), image.area("key")) == (1, 32 - 8, 14)


def _as_instances_and_semantic(folder: Path, drawn: list[TinyImage]) -> Path:
    """Write the same segments as instances and semantic maps, which lose nothing but segment ids."""
    images, annotations = [], []
    for image in drawn:
        height, width = image.ids.shape
        name = f"{image.image_id:06d}.png"
        images.append({"id": image.image_id, "file_name": name, "height": height, "width": width})
        semantic = np.zeros((height, width), np.uint8)
        for segment in image.segments:
            mask = image.ids == segment.id
            semantic[mask] = segment.category_id
            if segment.category_id not in STUFF:
                fields = {"image_id": image.image_id, "category_id": segment.category_id}
                crowd = int(segment.is_crowd)
                annotations.append(fields | {"iscrowd": crowd, "segmentation": encode_mask(mask)})
        (folder / "semantic").mkdir(exist_ok=True)
        Image.fromarray(semantic).save(folder / "semantic" / name)
    source = folder / "instances.json"
    source.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return source


def _segments(root: Path) -> dict[str, list[tuple[int, bool, bytes]]]:
    """Read the segments of each image as (class, crowd, mask), sorted, without their ids."""
    folder = root / "annotations" / "panoptic_train"
    if not folder.exists():
        zipfile.ZipFile(folder.with_suffix(".zip")).extractall(folder)
    found = {}
    for annotation in json.loads(folder.with_suffix(".json").read_text())["annotations"]:
        ids = np.asarray(Image.open(folder / annotation["file_name"])).astype(int) @ [1, 256, 65536]
        found[annotation["file_name"]] = sorted(
            (info["category_id"], bool(info["iscrowd"]), (ids == info["id"]).tobytes())
            for info in annotation["segments_info"]
        )
    return found


def test_a_panoptic_split_survives_a_round_trip_through_instances_and_semantic_maps(tmp_path: Path) -> None:
    images = random_images(seed=3, count=5)
    split = write_split(tmp_path / "first", "train", images)
    source = _as_instances_and_semantic(tmp_path, images)
    options = ["--images", str(split.images), "--semantic", str(tmp_path / "semantic"), "--classes"]
    _run(tmp_path, source, *options, str(split.panoptic_json))
    expected = _segments(tmp_path / "first")
    assert len(expected) == 5
    assert _segments(tmp_path / "out") == expected


def test_smaller_instances_cover_larger_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = _coco(tmp_path, [_rectangle(2, 2, 6, 6, category_id=9), _rectangle(0, 0, 10, 10)])
    assert (image.area("key"), image.area("coin")) == (16, 84)
    assert "13.8% of the instances' pixels are covered by other instances" in capsys.readouterr().out  # 16 of 116


def test_a_covered_pixel_of_many_does_not_read_as_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_coco(tmp_path, [_rectangle(0, 0, 100, 100), _rectangle(7, 7, 8, 8)])
    write_image(tmp_path / "images" / "a.png", height=100, width=100)
    document = json.loads(source.read_text())
    document["images"][0] |= {"height": 100, "width": 100}
    source.write_text(json.dumps(document))
    _run(tmp_path, source, "--images", str(tmp_path / "images"))
    printed = capsys.readouterr().out
    assert "note: below 0.1% of the instances' pixels are covered by other instances" in printed
    assert "most in a.png, below 0.1%" in printed


def test_later_instances_cover_earlier_ones_on_request(tmp_path: Path) -> None:
    image = _coco(tmp_path, [_rectangle(0, 0, 4, 4, category_id=9), _rectangle(2, 0, 12, 10)], "--on-top", "later")
    assert (image.area("key"), image.area("coin")) == (8, 100)


@pytest.mark.parametrize(("other", "on_top"), [((2, 2, 6, 6), "smaller"), ((0, 0, 10, 10), "later")])
def test_a_completely_hidden_instance_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: tuple[int, int, int, int], on_top: str
) -> None:
    with pytest.raises(SystemExit):
        _coco(tmp_path, [_rectangle(2, 2, 6, 6), _rectangle(*other)], "--on-top", on_top)
    assert "annotations[0] ('a.png'): the instance of 'coin' is completely hidden" in capsys.readouterr().err


def test_instances_cover_crowds_and_crowds_cover_stuff(tmp_path: Path) -> None:
    table = shape("table", "rectangle", box(4, 4, 7, 7))
    crowd = shape("coin", "rectangle", box(2, 2, 8, 8), flags={"iscrowd": True})
    key = shape("key", "rectangle", box(0, 0, 16, 3))
    write_labelme(tmp_path / "photos", "a.png", [key, crowd, table, shape("paper", "rectangle", box(0, 0, 16, 16))])
    _run(tmp_path, tmp_path / "photos", "--classes", str(write_classes(tmp_path)))
    image = read_split(tmp_path / "out")["a.png"]
    areas = [image.area(name) for name in ("key", "coin", "table", "paper")]
    assert areas == [48, 36 - 6, 0, 256 - 48 - 30]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": [], "bbox": [1, 1, 2, 2]}, "has only a box"),
        ({"segmentation": [[1, 1, 2]]}, "polygons as lists"),
        ({"segmentation": encode_mask(np.ones((4, 4), bool))}, "the mask is 4 x 4"),
        (_rectangle(1, 1, 4, 4, category_id=6), "category 6 is not in 'categories'"),
        (_rectangle(1, 1, 4, 4, image_id=77), "image id 77 is not in 'images'"),
    ],
)
def test_invalid_annotations_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], annotation: dict[str, object], message: str
) -> None:
    with pytest.raises(SystemExit):
        _coco(tmp_path, [annotation])
    errors = capsys.readouterr().err
    assert "annotations[0]" in errors
    assert message in errors
    assert not (tmp_path / "out" / "train").exists()


@pytest.mark.parametrize(
    ("semantic", "message"),
    [
        (np.full((HEIGHT, WIDTH), 7, np.uint8), f"{HEIGHT * WIDTH} pixels have values without a class (7)"),
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), "a color image"),
        (np.zeros((3, 4), np.uint8), "3 x 4, but the image is 24 x 32"),
        (None, "the file is missing"),
    ],
)
def test_invalid_semantic_maps_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], semantic: NDArray[np.uint8] | None, message: str
) -> None:
    (tmp_path / "maps").mkdir()
    if semantic is not None:
        Image.fromarray(semantic).save(tmp_path / "maps" / "a.png")
    classes = write_classes(tmp_path, "things: [coin, key]\nstuff: [table]\nvalues: {0: void, 1: table}\n")
    with pytest.raises(SystemExit):
        _coco(tmp_path, [_rectangle(1, 1, 4, 4)], "--semantic", str(tmp_path / "maps"), "--classes", str(classes))
    errors = capsys.readouterr().err
    assert message in errors
    assert "a.png" in errors


def test_semantic_maps_that_are_no_png_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "maps").mkdir()
    Image.fromarray(np.ones((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "maps" / "a.png", "JPEG")
    options = ["--semantic", str(tmp_path / "maps"), "--classes", str(write_classes(tmp_path))]
    with pytest.raises(SystemExit):
        _coco(tmp_path, [_rectangle(1, 1, 4, 4)], *options)
    assert "maps: a.png: a JPEG, not a PNG; write it as PNG, which keeps every value" in capsys.readouterr().err


def test_semantic_maps_may_have_a_palette_or_16_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "maps").mkdir()
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    values[:4] = 300
    values[4:6] = 2
    Image.fromarray(values).save(tmp_path / "maps" / "a.png")
    table = "things: [coin, key]\nstuff: [table]\nvalues: {0: void, 2: coin, 300: table}\n"
    options = ["--semantic", str(tmp_path / "maps"), "--classes", str(write_classes(tmp_path, table))]
    image = _coco(tmp_path, [_rectangle(0, 2, 4, 4)], *options)
    # A coin that is only in the map is void: the map does not separate instances.
    assert (image.area("table"), image.area("coin")) == (4 * WIDTH - 8, 8)
    where = f"{tmp_path / 'instances.json'}: 'a.png'"
    note = f"no instance covers, whose pixels are void: 1 ({where}: {2 * WIDTH} pixels of 'coin')"
    assert note in capsys.readouterr().out
    palette = Image.fromarray(np.where(values == 300, 1, 0).astype(np.uint8), "P")
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.save(tmp_path / "maps" / "a.png")
    table = "things: [coin, key]\nstuff: [table]\nvalues: {0: void, 1: table}\n"
    options[-1] = str(write_classes(tmp_path, table))
    assert _coco(tmp_path, [_rectangle(0, 2, 4, 4)], *options).area("table") == 4 * WIDTH - 8


def test_two_images_with_the_same_id_map_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_coco(tmp_path, [_rectangle(1, 1, 5, 5)], ["a.png", "a.jpg"])
    with pytest.raises(SystemExit):
        _run(tmp_path, source, "--images", str(tmp_path / "images"))
    assert "would both be named 'a.png'" in capsys.readouterr().err


def test_paths_outside_the_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_coco(tmp_path, [_rectangle(1, 1, 5, 5)])
    source.write_text(source.read_text().replace('"a.png"', '"../images/a.png"'))
    with pytest.raises(SystemExit):
        _run(tmp_path, source, "--images", str(tmp_path / "images"))
    assert "leaves the folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["annotations.xml", "task.zip"])
def test_other_cvat_exports_are_refused_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("<annotations/>")
    with pytest.raises(SystemExit):
        _run(tmp_path, tmp_path / name)
    assert re.search("COCO 1.0|unpack it", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("things: [coin, coin]", "'coin' is listed twice"),
        ("things: [yes]", "is not a name; quote it"),
        ("thing: [coin]", "unknown key 'thing'"),
        ("void: [unsure]", "no class is listed"),
        ("things: [coin]\nvalues: {1: con}", r"values: 1: the class 'con' is unknown \(did you mean 'coin'"),
        ("things: [coin", "not valid YAML"),
        ("- coin", "categories"),
    ],
)
def test_invalid_class_tables_are_reported(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_classes(write_classes(tmp_path, text))
