"""Names as other systems write them, through every command that reads a dataset."""

import json
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.tools import unlabeled
from panoptic.tools.check import __main__ as check
from panoptic.tools.convert import __main__ as convert
from stages import annotate
from tests.panoptic.tools.convert.made_own_data import (
    HEIGHT,
    WIDTH,
    box,
    read_split,
    shape,
    write_classes,
    write_coco,
    write_labelme,
)
from tests.raw_zip import write_raw_zip
from tests.stages.own_data import OwnData, assert_equal, fails, index_unlabeled, unlabeled_options

NFC, NFD = (unicodedata.normalize(form, "Münze") for form in ("NFC", "NFD"))
# The name in the JSON, and on disk.
FORMS = {
    "plain": ("{}", "{}"),
    "backslashes": ("sub\\{}", "sub/{}"),
    "dots": ("./{}", "{}"),
    "double slashes": ("sub//{}", "sub/{}"),
    "unpacked backslashes": ("sub/{}", "sub\\{}"),
    "composed": (f"{NFC}{{}}", f"{NFD}{{}}"),
    "decomposed": (f"{NFD}/{{}}", f"{NFC}/{{}}"),
}


@pytest.fixture
def own(tmp_path: Path) -> OwnData:
    return OwnData(tmp_path)


@pytest.mark.parametrize("packed", [False, True], ids=["folders", "archives"])
@pytest.mark.parametrize("form", FORMS)
def test_every_command_finds_a_file_by_its_name_in_any_form(
    own: OwnData, form: str, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    own.rename(*FORMS[form])
    if packed:
        own.pack()
    check.main([str(own.root), "--workers", "0"])
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert_equal(own.annotate(), own.drawn)
    assert own.evaluate() == 1


@pytest.mark.parametrize("name", ["图片{}", "照片/{}"])
def test_names_of_an_archive_from_chinese_windows_are_found(
    own: OwnData, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own.rename(name, name)
    images = own.files.images
    files = {file.relative_to(images).as_posix(): file for file in sorted(images.rglob("*.png"))}
    write_raw_zip(own.root / "val.zip", {key.encode("gb18030"): file.read_bytes() for key, file in files.items()})
    images.rename(own.folder / "unpacked")
    check.main([str(own.root), "--workers", "0"])
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert_equal(own.annotate(), own.drawn)


def test_names_that_leave_the_folder_are_still_refused(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    own.rename("images\\..\\..\\{}", "{}")
    output = fails(lambda: check.main([str(own.root), "--workers", "0"]), 1, capsys)
    assert "ERROR name-leaves-folder (4)" in output
    assert "leaves the folder" in fails(own.annotate, 2, capsys)
    assert "leaves the folder" in fails(own.evaluate, 2, capsys)


def test_two_files_of_one_name_are_an_error_that_names_both(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (NFC, NFD):
        (own.files.images / f"{name}.png").write_bytes(b"")
    for command, status in ((lambda: check.main([str(own.root), "--workers", "0"]), 1), (own.annotate, 2)):
        output = fails(command, status, capsys)
        assert r"'Mu\u0308nze.png' and 'M\xfcnze.png' have the same name" in output


@pytest.mark.parametrize(
    ("in_json", "on_disk", "found"),
    [
        ("{}", "images/default/{}", "but 'images/default/000100.png' is there"),
        ("x{}", "X{}", "but 'X000100.png' is there"),
    ],
)
def test_a_missing_file_is_looked_for(
    own: OwnData, in_json: str, on_disk: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (own.files.images / "images" / "default").mkdir(parents=True)
    (own.files.masks / "images" / "default").mkdir(parents=True)
    own.rename(in_json, on_disk)
    for command, status in (
        (lambda: check.main([str(own.root), "--workers", "0"]), 1),
        (own.annotate, 2),
        (own.evaluate, 2),
    ):
        assert found in fails(command, status, capsys)


@pytest.mark.parametrize("form", FORMS)
def test_images_of_instances_are_found_by_their_name_in_any_form(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_json, on_disk = (name.format("a.png") for name in FORMS[form])
    path = write_coco(tmp_path, [{"segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}], [on_disk])
    document = json.loads(path.read_text())
    document["images"][0]["file_name"] = in_json
    path.write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path / "images")
    convert.main([str(path), "--images", ".", "--out", str(tmp_path / "out")])
    (image,) = read_split(tmp_path / "out").values()
    assert image.area("coin") == 64


def test_a_labelme_file_with_a_decomposed_name_is_read(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    table = shape("table", "rectangle", box(0, 0, WIDTH, HEIGHT))
    write_labelme(photos, f"{NFD}.png", [table], imagePath=f"C:\\photos\\{NFC}.png")
    convert.main([str(photos), "--classes", str(write_classes(tmp_path)), "--out", str(tmp_path / "out")])
    assert list(read_split(tmp_path / "out")) == [f"{NFC}.png"]


def test_names_without_an_encoding_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((8, 12, 3), 90, np.uint8))
    write_raw_zip(tmp_path / "new.zip", {"照片.jpg".encode("gb18030"): jpeg.tobytes()})
    index_unlabeled(tmp_path, tmp_path / "new.zip")
    assert "note: 1 names do not tell their encoding, and may look wrong" in capsys.readouterr().out


def test_the_current_folder_can_be_given(
    own: OwnData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(own.root)
    check.main([".", "--workers", "0"])
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    monkeypatch.chdir(own.files.images)
    assert len(index_unlabeled(own.folder, Path()).records) == 2
    assert "is a folder; name the index" in fails(
        lambda: unlabeled.main(unlabeled_options(own.folder, Path(), Path())), 2, capsys
    )
    params = own.folder / "params.yaml"
    own.annotate()
    command = ["--params", str(params), "--state", str(own.folder / "state"), "--output", "."]
    assert ".: cannot be replaced; name a file or folder in it" in fails(lambda: annotate.main(command), 2, capsys)


@pytest.mark.parametrize("split", [NFC, NFD], ids=["composed", "decomposed"])
def test_the_name_of_a_split_may_be_composed_or_not(
    own: OwnData, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = own.files
    for part, name in ((parts.panoptic_json, NFC), (parts.masks, NFD), (parts.images, NFC)):
        part.rename(part.with_name(part.name.replace("val", name)))
    check.main([str(own.root), "--split", split, "--workers", "0"])
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert_equal(own.annotate(split), own.drawn)
