"""Images that annotations name otherwise than their files: by other folders, other cases, other systems."""

import base64
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic.io.names import normal_name
from panoptic.tools.convert.__main__ import main
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

COIN = shape("coin", "rectangle", box(2, 2, 8, 8))


def _coco(tmp_path: Path, listed: str, *files: str) -> Path:
    """Write an instance JSON that lists one image, and images of other names."""
    source = write_coco(tmp_path, [{"segmentation": [[2, 2, 8, 2, 8, 8, 2, 8]]}])
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "images").mkdir()
    for file in files:
        write_image(tmp_path / "images" / file)
    document = json.loads(source.read_text())
    document["images"][0]["file_name"] = listed
    source.write_text(json.dumps(document))
    return source


def _convert(tmp_path: Path, source: Path, *options: str) -> dict[str, ReadImage]:
    main([str(source), "--out", str(tmp_path / "out"), *options])
    return read_split(tmp_path / "out")


@pytest.mark.parametrize(
    ("listed", "files", "found"),
    [
        ("a.png", ["default/a.png"], "default/a.png"),
        ("IMG_1.PNG", ["IMG_1.png"], "IMG_1.png"),
        ("Train/IMG_1.png", ["other/IMG_1.png", "x/train/img_1.png"], "x/train/img_1.png"),
        ("C:\\Users\\me\\day1\\a.png", ["day1/a.png", "day2/a.png"], "day1/a.png"),
        ("/datasets/photos/a.png", ["a.png"], "a.png"),
        ("upload/a%20b.png", ["a b.png"], "a b.png"),
        ("train\\a.png", ["a.png", "._a.png", "__MACOSX/a.png"], "a.png"),
    ],
)
def test_a_missing_image_is_found_by_the_last_part_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listed: str, files: list[str], found: str
) -> None:
    source = _coco(tmp_path, listed, *files)
    image = _convert(tmp_path, source, "--images", str(tmp_path / "images"))[found]
    assert image.area("coin") == 36
    assert f"note: images found under another name: 1 ('{normal_name(listed)}' is {found})" in capsys.readouterr().out


@pytest.mark.parametrize("listed", ["sub/a.png", "./sub/a.png", "sub\\a.png", "sub//a.png"])
def test_an_image_of_the_name_comes_first_however_it_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listed: str
) -> None:
    source = _coco(tmp_path, listed, "sub/a.png", "other/a.png", "a.png")
    assert list(_convert(tmp_path, source, "--images", str(tmp_path / "images"))) == ["sub/a.png"]
    assert "another name" not in capsys.readouterr().out


def test_images_are_found_in_zip_files_too(tmp_path: Path) -> None:
    source = _coco(tmp_path, "A.png", "default/a.png")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "images" / "default" / "a.png", "images/default/a.png")
    shutil.rmtree(tmp_path / "images")
    assert list(_convert(tmp_path, source, "--images", str(tmp_path / "images.zip"))) == ["default/a.png"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["x/a.png", "y/a.png"], "2 other files may be meant (x/a.png, y/a.png); correct the name, or give its folder"),
        (["a.jpg"], "images: a.png: the file is missing, but 'a.jpg' is there; add it"),
        ([], "images: a.png: the file is missing; add it"),
    ],
)
def test_an_image_that_is_not_found_or_not_alone_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: list[str], message: str
) -> None:
    source = _coco(tmp_path, "a.png", *files)
    with pytest.raises(SystemExit):
        _convert(tmp_path, source, "--images", str(tmp_path / "images"))
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "train").exists()


def test_no_image_is_taken_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _coco(tmp_path, "x/a.png", "a.png")
    document = json.loads(source.read_text())
    document["images"].append(document["images"][0] | {"id": 11, "file_name": "y/a.png"})
    source.write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        _convert(tmp_path, source, "--images", str(tmp_path / "images"))
    errors = capsys.readouterr().err
    assert "'x/a.png'" in errors
    assert "'y/a.png'" in errors


def test_semantic_maps_are_found_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _coco(tmp_path, "a.png", "default/a.png")
    (tmp_path / "maps").mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH), 2, np.uint8)).save(tmp_path / "maps" / "A.PNG")
    classes = write_classes(tmp_path, "things: [coin, key]\nstuff: [table]\nvalues: {2: table}\n")
    options = [f"--images={tmp_path / 'images'}", f"--semantic={tmp_path / 'maps'}", f"--classes={classes}"]
    image = _convert(tmp_path, source, *options)["default/a.png"]
    assert (image.area("coin"), image.area("table")) == (36, HEIGHT * WIDTH - 36)
    assert "note: semantic PNGs found under another name: 1 ('default/a.png' is A.PNG)" in capsys.readouterr().out


def test_results_may_lie_among_the_images_of_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _coco(tmp_path, "train/a.png", "A.png", "other.png")
    # The image that the first run writes would be the better match for the second.
    for _ in range(2):
        main([str(source), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "images" / "train")])
        assert list(read_split(tmp_path / "images" / "train")) == ["A.png"]
        assert "note: 1 of 2 images have no annotation and were left out (other.png)\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(source), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "images"), "--split", "val"])
    assert "is inside the source" in capsys.readouterr().err


def test_images_without_annotation_are_counted_and_three_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _coco(tmp_path, "Caf\u00e9.png", "cafe\u0301.PNG", *(f"{number}.png" for number in range(5)))
    _convert(tmp_path, source, "--images", str(tmp_path / "images"))
    note = "note: 5 of 6 images have no annotation and were left out (0.png, 1.png, 2.png and 2 more)\n"
    assert note in capsys.readouterr().out


def _labelme(tmp_path: Path, recorded: str, files: list[str], item: str = "a.json", **more: object) -> list[str]:
    written = write_labelme(tmp_path / "photos", item.replace(".json", ".png"), [COIN], imagePath=recorded, **more)
    written.with_suffix(".png").unlink()
    for file in files:
        write_image(tmp_path / "photos" / file)
    return list(_convert(tmp_path, tmp_path / "photos", "--classes", str(write_classes(tmp_path))))


@pytest.mark.parametrize(
    ("recorded", "files", "found"),
    [
        ("IMG_1.PNG", ["IMG_1.png"], "IMG_1.png"),
        ("C:\\Users\\me\\photos\\a.png", ["a.png", "b/a.png"], "a.png"),
        ("C:\\Users\\me\\day1\\a.png", ["day1/a.png", "day2/a.png"], "day1/a.png"),
        ("..\\JPEGImages\\a.png", ["JPEGImages/a.png"], "JPEGImages/a.png"),
        ("/home/me/a.png", ["sub/A.png"], "sub/A.png"),
        ("sub/a.png", ["sub/a.png", "a.png"], "sub/a.png"),
    ],
)
def test_labelme_paths_of_other_machines_are_found(tmp_path: Path, recorded: str, files: list[str], found: str) -> None:
    assert _labelme(tmp_path, recorded, files) == [found]


def test_labelme_paths_are_relative_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos" / "labels").mkdir(parents=True)
    files = ["images/a.png", "labels/sub/a.png"]
    assert _labelme(tmp_path, "../images/a.png", files, "labels/a.json") == ["images/a.png"]
    assert "another name" not in capsys.readouterr().out


def _embedded(tmp_path: Path, suffix: str = ".png", orientation: int = 1) -> tuple[str, bytes]:
    data = write_image(tmp_path / f"elsewhere{suffix}", orientation=orientation).read_bytes()
    return base64.b64encode(data).decode(), data


def test_an_image_inside_a_labelme_file_is_used_if_there_is_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, data = _embedded(tmp_path)
    # The file of that name in another folder may be another image, the one inside is certainly the right one.
    assert _labelme(tmp_path, "..\\JPEGImages\\a.png", ["other/a.png"], imageData=text) == ["a.png"]
    assert (tmp_path / "out" / "train" / "a.png").read_bytes() == data
    output = capsys.readouterr().out
    assert "because they are in no file of their own: 1 ('a.png' in " in output
    assert "note: 1 of 1 images have no annotation and were left out (other/a.png)" in output
    assert _labelme(tmp_path, "a.png", ["a.png"], imageData=text) == ["a.png"]
    assert (tmp_path / "out" / "train" / "a.png").samefile(tmp_path / "photos" / "a.png")


def test_an_image_inside_a_labelme_file_may_be_a_data_url_and_rotated(tmp_path: Path) -> None:
    text, _ = _embedded(tmp_path, ".jpg", orientation=6)
    write_labelme(
        tmp_path / "photos",
        "a.jpg",
        [COIN],
        imageData=f"data:image/jpeg;base64,{text}",
        imageWidth=HEIGHT,
        imageHeight=WIDTH,
    )
    (tmp_path / "photos" / "a.jpg").unlink()
    options = ["--classes", str(write_classes(tmp_path)), "--exif-orientation", "apply"]
    assert _convert(tmp_path, tmp_path / "photos", *options)["a.jpg"].area("coin") == 36
    with Image.open(tmp_path / "out" / "train" / "a.jpg") as image:
        assert image.size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("recorded", ["a.json", "", "..", "C:\\photos\\..\\"])
def test_an_image_path_that_names_no_image_is_ignored(tmp_path: Path, recorded: str) -> None:
    assert _labelme(tmp_path, recorded, [], imageData=_embedded(tmp_path, ".jpg")[0]) == ["a.jpg"]
    assert _labelme(tmp_path, recorded, ["a.jpg"]) == ["a.jpg"]
    assert (tmp_path / "out" / "train" / "a.jpg").samefile(tmp_path / "photos" / "a.jpg")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("x", "'imageData' is no image; add the image 'a.png'"),
        ("AAAA", "photos: a.png: the image cannot be decoded"),
        (base64.b64encode(b"\x89PNG").decode(), "photos: a.png: the image cannot be decoded"),
    ],
)
def test_a_damaged_image_inside_a_labelme_file_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        _labelme(tmp_path, "a.png", [], imageData=data)
    assert message in capsys.readouterr().err
