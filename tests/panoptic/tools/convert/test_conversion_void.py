"""Void in converted data: no category id means it, drawn void lies on everything, and what is hidden is reported."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic.tools.check.__main__ import main as check
from panoptic.tools.convert.__main__ import main
from stages.annotate import main as annotate
from stages.evaluate import main as evaluate
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

TABLE = shape("table", "rectangle", box(0, 0, WIDTH, HEIGHT))
# Ids that are void, or the end of a range, in some format.
IDS = (0, 255, 65535, -1, 2**63 - 1)


def _photos(tmp_path: Path, shapes: Sequence[dict[str, object]], *options: str) -> ReadImage:
    write_labelme(tmp_path / "photos", "a.png", shapes)
    classes = ["--classes", str(write_classes(tmp_path))]
    main([str(tmp_path / "photos"), *classes, "--out", str(tmp_path / "out"), *options])
    return read_split(tmp_path / "out")["a.png"]


def _write_semantic(tmp_path: Path, values: Sequence[int], categories: Sequence[dict[str, object]]) -> list[str]:
    """Write a map of equally wide columns of values, of which 99 is void, and an instance of the last category."""
    write_image(tmp_path / "images" / "a.png", 48, 64)
    (tmp_path / "maps").mkdir()
    columns = np.repeat(np.array(values, np.uint16), 64 // len(values))
    Image.fromarray(np.tile(columns, (48, 1))).save(tmp_path / "maps" / "a.png")
    classes = {
        "categories": categories,
        "values": {"99": "void"} | {str(n): c["name"] for n, c in enumerate(categories)},
    }
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    thing = {
        "id": 1,
        "image_id": 1,
        "category_id": categories[-1]["id"],
        "segmentation": [[40, 10, 55, 10, 55, 30, 40, 30]],
    }
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 48, "width": 64}],
        "annotations": [thing],
        "categories": categories,
    }
    (tmp_path / "instances.json").write_text(json.dumps(document))
    options = [f"--{name}={tmp_path / folder}" for name, folder in (("images", "images"), ("semantic", "maps"))]
    return [str(tmp_path / "instances.json"), *options, f"--classes={tmp_path / 'classes.json'}"]


@pytest.mark.parametrize("ids", [IDS, IDS[::-1], (256, 254, 2**31, 0, 65536), (1, 2, 3, 4, 0)])
def test_every_number_can_be_a_category_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ids: Sequence[int]
) -> None:
    categories = [{"id": key, "name": f"class{key}", "isthing": int(key == ids[-1])} for key in ids]
    source = _write_semantic(tmp_path, [0, 1, 2, 3, 99, 99, 99, 99], categories)
    for split in ("train", "val"):
        main([*source, "--out", str(tmp_path / "own"), "--split", split])
    void = 4 * 8 * 48 - 300  # half of the columns, without the instance
    assert f"{void / (48 * 64):.1%} of their pixels void" in capsys.readouterr().out
    image = read_split(tmp_path / "own")["a.png"]
    assert [image.area(f"class{key}") for key in ids] == [8 * 48] * 4 + [300]
    assert image.area("") == void == 1236

    check([str(tmp_path / "own"), "--json", str(tmp_path / "check.json")])
    checked = json.loads((tmp_path / "check.json").read_text())
    assert checked["counts"]["errors"] == 0
    assert checked["splits"][0]["void_fraction"] == pytest.approx(void / (48 * 64))
    (tmp_path / "params.yaml").write_text(
        "dataset: {name: own, root: x, train: train, val: val}\nannotate: {semantic: true}\n"
    )
    paths = {"params": "params.yaml", "root": "own", "state": "state", "output": "annotated"}
    annotate([f"--{name}={tmp_path / path}" for name, path in paths.items()])
    index = tmp_path / "annotated" / "val.index"
    stem = tmp_path / "own" / "annotations" / "panoptic_val"
    outputs = {"metrics": tmp_path / "metrics.json", "per-class": tmp_path / "per_class.json"}
    evaluate(
        [f"--ground-truth-index={index}", f"--predictions-json={stem}.json", f"--predictions-folder={stem}.zip"]
        + [f"--{name}={path}" for name, path in outputs.items()]
    )
    per_class = json.loads(outputs["per-class"].read_text())
    assert {key: (entry["tp"], entry["pq"]) for key, entry in per_class.items()} == {str(key): (1, 1) for key in ids}


def test_value_0_of_semantic_maps_is_the_class_with_id_0_if_there_is_one(tmp_path: Path) -> None:
    wall = {"id": 0, "name": "wall", "isthing": 0}
    source = _write_semantic(tmp_path, [0, 1], [wall, {"id": 1, "name": "person", "isthing": 1}])
    for categories, area in (([wall], 32 * 48), ([], 0)):
        table = [*categories, {"id": 1, "name": "person", "isthing": 1}]
        (tmp_path / "classes.json").write_text(json.dumps(table))
        main([*source, "--out", str(tmp_path / "own")])
        image = read_split(tmp_path / "own")["a.png"]
        assert (image.area("wall"), image.area("person"), image.area("")) == (area, 300, 48 * 64 - area - 300)


def test_void_lies_on_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hole = shape("unsure", "rectangle", box(4, 4, 16, 16))
    crowd = shape("key", "rectangle", box(14, 0, 20, 8), flags={"crowd": True})
    # In whatever order they are drawn, and although the hole is larger than the coin.
    for order in ([hole, TABLE, crowd], [TABLE, crowd, hole]):
        coin = shape("coin", "rectangle", box(10, 10, 20, 20))
        for on_top in ("smaller", "later"):
            image = _photos(tmp_path, [coin, *order], "--on-top", on_top)
            assert (image.area("coin"), image.area("key")) == (100 - 36, 48 - 8)
            assert (image.area(""), image.area("table")) == (144, WIDTH * HEIGHT - 144 - 64 - 40)
            note = "36.0% of the instances' pixels are covered by other instances or void"
            assert note in capsys.readouterr().out


def test_a_hole_in_a_thing_is_void(tmp_path: Path) -> None:
    donut, hole = (
        shape("coin", "polygon", [[2, 2], [22, 2], [22, 22], [2, 22]]),
        shape("void", "rectangle", box(7, 7, 17, 17)),
    )
    image = _photos(tmp_path, [donut, hole])
    assert (image.area("coin"), image.count("coin"), image.area("")) == (400 - 100, 1, WIDTH * HEIGHT - 300)


def test_what_is_hidden_completely_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = [shape("table", "rectangle", box(left, 2, left + 2, 4)) for left in (2, 5, 8)]
    shapes = [
        *hidden,
        shape("coin", "rectangle", box(1, 1, 12, 6)),
        shape("key", "rectangle", box(20, 10, 24, 14)),
        shape("unsure", "rectangle", box(19, 9, 25, 15)),
        shape("paper", "rectangle", box(0, 20, 10, 24)),
        shape("paper", "rectangle", box(2, 21, 4, 22)),  # a part of what the class shows
    ]
    image = _photos(tmp_path, shapes)
    assert (image.area("table"), image.area("key"), image.area("paper")) == (0, 0, 40)
    names = [f"{tmp_path}/photos/a.json: shapes[{index}] ('table')" for index in range(3)]
    output = capsys.readouterr().out
    assert f"note: regions completely hidden, of which no pixel is left: 4 ({', '.join(names)} and 1 more)" in output
    assert "note: no image shows 'key', 'table' (2 of the classes)" in output


def test_stuff_of_a_semantic_map_that_instances_hide_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_coco(tmp_path, [{"segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]}])
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[2:4, 2:4] = 1
    values[2:4, 20:30] = 2
    (tmp_path / "maps").mkdir()
    Image.fromarray(values).save(tmp_path / "maps" / "a.png")
    classes = write_classes(
        tmp_path, "things: [coin, key]\nstuff: [table, paper]\nvalues: {0: void, 1: table, 2: paper, 3: key}"
    )
    options = [f"--images={tmp_path / 'images'}", f"--semantic={tmp_path / 'maps'}", f"--classes={classes}"]
    main([str(source), *options, "--out", str(tmp_path / "out")])
    image = read_split(tmp_path / "out")["a.png"]
    assert (image.area("coin"), image.area("table"), image.area("paper")) == (64, 0, 20)
    note = f"no pixel is left: 1 ({source}: 'a.png': 'table' of the semantic map)"
    assert note in capsys.readouterr().out
