"""Conversion of LabelMe files."""

import base64
import io
import json
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from panoptic.data.decoding import decode_image, decode_upright
from panoptic.tools.convert.__main__ import main
from tests.panoptic.tools.convert.made_own_data import (
    HEIGHT,
    WIDTH,
    ReadImage,
    box,
    read_split,
    shape,
    write_classes,
    write_image,
    write_labelme,
)

TABLE = shape("table", "rectangle", box(0, 0, WIDTH, HEIGHT))


def _convert(tmp_path: Path, *options: str) -> dict[str, ReadImage]:
    main(
        [str(tmp_path / "photos"), "--classes", str(write_classes(tmp_path)), "--out", str(tmp_path / "out"), *options]
    )
    return read_split(tmp_path / "out")


def _fails(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as ended:
        _convert(tmp_path, *options)
    assert ended.value.code == 2
    assert not (tmp_path / "out" / "annotations" / "panoptic_train.json").exists()
    return capsys.readouterr().err


def test_shapes_of_every_type_become_regions(tmp_path: Path) -> None:
    image = Image.fromarray(np.eye(4, dtype=np.uint8) * 255)
    image.save(buffer := io.BytesIO(), "PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    shapes = [
        TABLE,
        shape("coin", "circle", [[5, 5], [5, 8]]),
        shape("key", "polygon", [[10, 2], [16, 2], [16, 6], [10, 6]]),
        shape("key", "oriented_rectangle", [[20, 2], [24, 2], [24, 4], [20, 4]]),
        shape("coin", "mask", [[12.6, 15.2], [15.6, 18.2]], mask=mask),
        shape("paper", "rectangle", [[32, 24], [25, 20]]),
    ]
    write_labelme(tmp_path / "photos", "a.png", shapes)
    converted = _convert(tmp_path)["a.png"]
    assert [converted.count(name) for name in ("coin", "key", "table", "paper")] == [2, 2, 1, 1]
    assert converted.area("key") == 6 * 4 + 4 * 2
    assert converted.area("paper") == 7 * 4
    assert all(converted.names[15 + step, 12 + step] == "coin" for step in range(4))
    assert converted.area("") == 0
    assert converted.names[5, 5] == "coin"


def test_shapes_of_one_group_become_one_instance(tmp_path: Path) -> None:
    shapes = [
        shape("key", "rectangle", box(1, 1, 4, 4), group_id=7),
        shape("key", "rectangle", box(8, 1, 12, 4), group_id=7),
        shape("coin", "rectangle", box(14, 1, 16, 4), group_id=7),
        shape("key", "rectangle", box(20, 1, 24, 4)),
        shape("key", "rectangle", box(20, 8, 24, 12)),
    ]
    write_labelme(tmp_path / "photos", "a.png", shapes)
    image = _convert(tmp_path)["a.png"]
    assert (image.count("key"), image.count("coin")) == (3, 1)
    assert image.ids[2, 2] == image.ids[2, 9]


def test_crowds_void_and_stuff_in_several_shapes(tmp_path: Path) -> None:
    shapes = [
        TABLE,
        shape("paper", "rectangle", box(0, 0, 4, 4)),
        shape("paper", "rectangle", box(20, 0, 24, 4)),
        shape("coin", "rectangle", box(10, 10, 20, 20), flags={"crowd": True}),
        shape("unsure", "rectangle", box(26, 14, 30, 18)),
    ]
    write_labelme(tmp_path / "photos", "a.png", shapes)
    image = _convert(tmp_path)["a.png"]
    assert [segment.is_crowd for segment in image.annotation.segments] == [False, False, True]
    assert (image.count("paper"), image.area("paper"), image.area("")) == (1, 32, 16)


def test_images_may_be_in_another_folder_than_labelme_recorded(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "day" / "a.png")
    labels = write_labelme(tmp_path / "photos" / "day", "a.png", [TABLE], imagePath="..\\C\\old\\a.png")
    labels.with_suffix(".png").unlink()
    assert list(_convert(tmp_path, "--images", str(tmp_path / "images"))) == ["day/a.png"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (shape("con", "circle", [[5, 5], [5, 8]]), r"shapes\[1\] .*'con' is unknown \(did you mean 'coin'\?\)"),
        (shape("coin", "cuboid", [[5, 5], [5, 8]]), "shapes of type 'cuboid' are unknown"),
        (shape("coin", "polygon", [[5, 5], [5, 8]]), "polygon of 2 points"),
        (shape("coin", "circle", [[5, 5]]), "a circle of 1 points instead of 2"),
        (shape("coin", "mask", box(1, 1, 2, 2), mask="!"), "not a readable PNG"),
        (shape("coin", "polygon", [[5, 5], [5], [5, 8]]), "pairs of numbers"),
        (shape("coin", "rectangle", box(40, 2, 44, 8)), "covers no pixel"),
    ],
)
def test_invalid_shapes_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: dict[str, object], message: str
) -> None:
    write_labelme(tmp_path / "photos", "a.png", [TABLE, bad])
    errors = _fails(tmp_path, capsys)
    assert "a.json" in errors
    assert re.search(message, errors)


def test_all_issues_of_all_files_are_reported_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_labelme(tmp_path / "photos", "a.png", [shape("dog", "circle", [[5, 5], [5, 8]]), shape("cat", "circle", [])])
    write_labelme(tmp_path / "photos", "b.png", [TABLE], imageHeight=99)
    write_labelme(tmp_path / "photos", "c.png", [TABLE]).with_suffix(".png").unlink()
    (tmp_path / "photos" / "settings.json").write_text(json.dumps({"zoom": 3}))
    errors = _fails(tmp_path, capsys)
    for part in ("5 issues", "'dog'", "'cat'", "says 99 x 32", "c.png", "not a LabelMe file"):
        assert part in errors


def test_without_a_class_table_one_is_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_labelme(tmp_path / "photos", "a.png", [TABLE, shape("coin", "circle", [[5, 5], [5, 8]])])
    with pytest.raises(SystemExit):
        main([str(tmp_path / "photos"), "--out", str(tmp_path / "out")])
    assert "things: [coin, table]" in capsys.readouterr().err


def test_the_class_table_may_lie_among_the_labelme_files(tmp_path: Path) -> None:
    write_labelme(tmp_path / "photos", "a.png", [TABLE])
    (tmp_path / "photos" / "classes.json").write_text('{"stuff": ["table"]}')
    arguments = [str(tmp_path / "photos"), "--classes", str(tmp_path / "photos" / "classes.json")]
    main([*arguments, "--out", str(tmp_path / "out")])
    assert read_split(tmp_path / "out")["a.png"].area("table") == HEIGHT * WIDTH


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_exif_orientation_is_applied_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], orientation: int
) -> None:
    size = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
    stored = write_image(tmp_path / "photos" / "a.jpg", *size, orientation=orientation)
    before = stored.read_bytes()
    write_labelme(tmp_path / "photos", "a.jpg", [TABLE])
    assert "--exif-orientation apply" in _fails(tmp_path, capsys)
    assert _convert(tmp_path, "--exif-orientation", "apply")["a.jpg"].area("table") == HEIGHT * WIDTH
    with Image.open(tmp_path / "out" / "train" / "a.jpg") as written, Image.open(stored) as image:
        assert written.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(image).astype(float)
        # The EXIF standard defines orientations by where the visual top and left edges are stored.
        shown = {
            2: pixels[:, ::-1],
            3: pixels[::-1, ::-1],
            4: pixels[::-1],
            5: pixels.swapaxes(0, 1),
            6: np.rot90(pixels, -1),
            7: pixels[::-1, ::-1].swapaxes(0, 1),
            8: np.rot90(pixels),
        }[orientation]
        assert np.abs(np.asarray(written) - shown).mean() < 6
    assert stored.read_bytes() == before


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_photo_that_is_turned_keeps_the_pixels_that_are_read(tmp_path: Path, suffix: str) -> None:
    samples = np.random.default_rng(0).integers(0, 4096, (WIDTH, HEIGHT, 3), np.uint16)  # 12 bits in 16
    exif = Image.Exif()
    exif[0x0112] = 6
    image = write_image(tmp_path / "photos" / f"a{suffix}", WIDTH, HEIGHT)
    if suffix == ".png":
        data, chunk = bytes(cv2.imencode(".png", samples)[1]), b"eXIf" + exif.tobytes()[6:]
        framed = (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
        image.write_bytes(data[:33] + framed + data[33:])  # behind the header
    else:
        Image.fromarray((samples >> 4).astype(np.uint8)).save(image, lossless=True, exif=exif)
    upright = decode_upright(image.read_bytes(), "a")
    assert upright.max() == 255
    write_labelme(tmp_path / "photos", f"a{suffix}", [TABLE])
    _convert(tmp_path, "--exif-orientation", "apply")
    assert np.array_equal(decode_image((tmp_path / "out" / "train" / f"a{suffix}").read_bytes(), "a"), upright)


@pytest.mark.parametrize("shape_type", ["point", "points", "line", "linestrip"])
def test_points_and_lines_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape_type: str
) -> None:
    # Their labels need no class.
    marks = [shape("middle", shape_type, [[20, 15]]), shape("coin", shape_type, [[1, 1], [5, 5]])]
    write_labelme(
        tmp_path / "photos", "a.png", [shape("coin", "polygon", [[10, 8], [18, 8], [18, 16], [10, 16]]), *marks]
    )
    image = _convert(tmp_path)["a.png"]
    assert (image.area("coin"), image.count("coin")) == (64, 1)
    names = [f"{tmp_path}/photos/a.json: shapes[{index}] ('{label}')" for index, label in ((1, "middle"), (2, "coin"))]
    note = f"note: points and lines left out, which have no area: 2 ({', '.join(names)})"
    assert note in capsys.readouterr().out
    write_labelme(tmp_path / "photos", "b.png", marks)
    assert _convert(tmp_path)["b.png"].area("") == HEIGHT * WIDTH
    output = capsys.readouterr().out
    assert "which have no area: 4 (" in output
    assert "images without a segment, so wholly void: 1" in output


def test_only_points_and_lines_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        write_labelme(
            tmp_path / "photos", name, [shape("coin", "point", [[5, 5]]), shape("key", "line", box(1, 1, 9, 9))]
        )
    errors = _fails(tmp_path, capsys)
    assert "all 4 shapes are points or lines, which have no area" in errors
    assert "a.json: shapes[0] ('coin')" in errors
    assert not (tmp_path / "out" / "train").exists()
    with pytest.raises(SystemExit):
        main([str(tmp_path / "photos"), "--out", str(tmp_path / "out")])
    assert "Found: no shape at all" in capsys.readouterr().err


def test_files_of_x_anylabeling_are_converted(tmp_path: Path) -> None:
    more: dict[str, object] = {"score": None, "difficult": False, "attributes": {}, "description": None, "flags": None}
    shapes = [
        shape("coin", "rectangle", [[4, 4], [14, 4], [14, 14], [4, 14]], **more),
        shape("coin", "rotation", [[20, 2], [24, 2], [24, 6], [20, 6]], direction=6.1, **more),
        shape("key", "polygon", [[1, 18], [5, 18], [5, 22], [1, 22]], **more | {"group_id": 3}),
        shape("key", "polygon", [[8, 18], [12, 18], [12, 22], [8, 22]], **more | {"group_id": 3}),
        shape("key", "polygon", [[15, 18], [19, 18], [19, 22], [15, 22]], **more | {"group_id": 4}),
        shape("paper", "rectangle", [[30, 22], [26, 22], [26, 18], [30, 18]], **more),
    ]
    write_labelme(tmp_path / "photos", "a.png", shapes, flags=None, imageHeight=None, imageWidth=None)
    image = _convert(tmp_path)["a.png"]
    assert [image.area(name) for name in ("coin", "key", "paper")] == [100 + 16, 48, 16]
    assert [image.count(name) for name in ("coin", "key", "paper")] == [2, 2, 1]


@pytest.mark.parametrize(
    ("shape_type", "points", "message"),
    [
        ("rectangle", [[1, 1], [5, 1], [5, 5]], "a rectangle of 3 points instead of 2 or 4"),
        ("rotation", [[1, 1], [5, 1], [5, 5]], "a rotation of 3 points instead of 4"),
    ],
)
def test_wrong_numbers_of_corners_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape_type: str, points: list[list[float]], message: str
) -> None:
    write_labelme(tmp_path / "photos", "a.png", [shape("coin", shape_type, points)])
    assert message in _fails(tmp_path, capsys)


@pytest.mark.parametrize("recorded", [None, "", "a.json", ".."])
def test_a_file_without_the_name_of_its_image_means_the_one_of_its_own_name(
    tmp_path: Path, recorded: str | None
) -> None:
    write_labelme(tmp_path / "photos", "a.png", [TABLE], imagePath=recorded)
    assert _convert(tmp_path)["a.png"].area("table") == HEIGHT * WIDTH


def test_an_empty_group_id_is_none(tmp_path: Path) -> None:
    coins = [shape("coin", "rectangle", box(left, 2, left + 4, 6), group_id="") for left in (2, 10)]
    write_labelme(tmp_path / "photos", "a.png", coins)
    assert _convert(tmp_path)["a.png"].count("coin") == 2


@pytest.mark.parametrize("split", ["", ".", "..", "a/b", "a\\b", "/a", "annotations", "a\0b"])
def test_a_split_has_a_plain_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str) -> None:
    write_labelme(tmp_path / "photos", "a.png", [TABLE])
    kept = tmp_path / "out" / "train" / "kept.png"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert "cannot be the name of a split; give a plain name such as train" in _fails(
        tmp_path, capsys, "--split", split
    )
    assert kept.exists()


@pytest.mark.parametrize("fraction", ["nan", "inf", "-0.2", "0", "1"])
def test_a_fraction_that_leaves_a_split_empty_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fraction: str
) -> None:
    write_labelme(tmp_path / "photos", "a.png", [TABLE])
    error = _fails(tmp_path, capsys, f"--val-fraction={fraction}")
    assert error == f"error: --val-fraction {fraction} of 1 images leaves a split empty; give another fraction\n"
