"""What lies beside data, or in its place, is skipped, counted or refused in words by every command."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.tools.check import __main__ as check
from panoptic.tools.convert import __main__ as convert
from tests.panoptic.tools.convert.made_own_data import (
    HEIGHT,
    WIDTH,
    box,
    read_split,
    shape,
    write_classes,
    write_labelme,
)
from tests.stages.own_data import OwnData, assert_equal, fails, index_unlabeled


@pytest.fixture
def own(tmp_path: Path) -> OwnData:
    return OwnData(tmp_path)


LITTER = ("._000100.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/000100.png", "@eaDir/000100.png")


@pytest.mark.parametrize("packed", [False, True], ids=["folders", "archives"])
def test_litter_is_no_data(own: OwnData, packed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for part in (own.files.images, own.files.masks, own.root / "annotations"):
        for name in LITTER:
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).write_bytes(b"\0litter")
    (own.root / "annotations" / "._panoptic_val.json").write_bytes(b"\0litter")
    images = own.files.images
    if packed:
        own.pack()
    check.main([str(own.root), "--workers", "0"])
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    assert_equal(own.annotate(), own.drawn)
    index = index_unlabeled(own.folder, images)
    assert [record.file_name for record in index.records] == ["000100.png", "000101.png"]


def test_litter_is_no_labelme_file(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_labelme(photos, "a.png", [shape("table", "rectangle", box(0, 0, WIDTH, HEIGHT))])
    for name in (*LITTER, "._a.json", "__MACOSX/a.json"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"\0litter")
    convert.main([str(photos), "--classes", str(write_classes(tmp_path)), "--out", str(tmp_path / "out")])
    assert list(read_split(tmp_path / "out")) == ["a.png"]


ENDINGS = (".jfif", ".jpe", ".JPG", ".tif", ".webp", ".bmp", ".jp2", ".ppm", ".gif", ".avif", ".Png")


def test_every_ending_that_can_be_decoded_is_taken_and_others_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    _, jpeg = cv2.imencode(".jpg", np.full((8, 12, 3), 90, np.uint8))
    for number, ending in enumerate(ENDINGS):
        (folder / f"{number}{ending}").write_bytes(jpeg.tobytes())
    for name in ("a.HEIC", "b.heic", "c.mp4", "LICENSE"):
        (folder / name).write_bytes(b"")
    (folder / "gone.jpg").symlink_to("/mnt/disk/gone.jpg")
    os.mkfifo(folder / "pipe.jpg")
    index = index_unlabeled(tmp_path, folder)
    assert len(index.records) == len(ENDINGS)
    output = capsys.readouterr().out
    assert "note: 4 files left out: 2 .heic (convert to JPEG or PNG), 1 without a suffix, 1 .mp4" in output
    broken = "'gone.jpg' is a link to /mnt/disk/gone.jpg, which does not exist; 'pipe.jpg' is a named pipe"
    assert f"note: 2 files left out: {broken}" in output


def test_images_that_a_list_does_not_name_are_counted(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    listed = own.folder / "list.json"
    document = json.loads(own.files.panoptic_json.read_text())
    listed.write_text(json.dumps({"images": document["images"][:1]}))
    assert len(index_unlabeled(own.folder, own.files.images, "--images-json", str(listed)).records) == 1
    assert "note: 1 image left out that the list does not name" in capsys.readouterr().out


def test_images_that_are_not_annotated_are_counted(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("new.png", "._new.png", "notes.txt"):
        (own.files.images / name).write_bytes((own.files.images / "000100.png").read_bytes())
    own.annotate()
    output = capsys.readouterr().out
    assert "note: 1 image left out that the list does not name (new.png)\n" in output
    assert "note: 1 file left out: 1 .txt\n" in output


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is a named pipe"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "dangling link": (lambda path: path.symlink_to("/mnt/x.png"), "is a link to /mnt/x.png, which does not exist"),
    "link to itself": (lambda path: path.symlink_to(path.name), "cannot be read (Too many levels of symbolic links)"),
    "folder": (Path.mkdir, "is a folder"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_listed_file_that_is_none_is_an_error_of_every_command(
    own: OwnData, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = SPECIAL[kind]
    for part in (own.files.images, own.files.masks):
        (part / "000100.png").unlink()
        make(part / "000100.png")
    output = fails(lambda: check.main([str(own.root), "--workers", "0", "--all"]), 1, capsys)
    assert f"own/val: 000100.png: {message}" in output
    images = own.files.images
    listed = ["--images-json", str(own.files.panoptic_json)]
    for command in (own.annotate, own.evaluate, lambda: index_unlabeled(own.folder, images, *listed)):
        assert f"000100.png: {message}" in fails(command, 2, capsys)


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_json_that_is_no_file_is_an_error(own: OwnData, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = SPECIAL[kind]
    own.files.panoptic_json.unlink()
    make(own.files.panoptic_json)
    output = fails(lambda: check.main([str(own.root), "--workers", "0", "--all"]), 1, capsys)
    assert f"panoptic_val.json: {message}" in output
    assert f"panoptic_val.json ({message})" in fails(own.annotate, 2, capsys)


@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "folder"])
def test_check_finds_what_dvc_would_stop_at(own: OwnData, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = SPECIAL[kind]
    make(own.files.images / "old.jpg")
    output = fails(lambda: check.main([str(own.root), "--workers", "0"]), 1, capsys)
    assert "ERROR file-unusable (1)" in output
    assert f"own: val/old.jpg: {message}" in output
    assert f"val/old.jpg: {message}; remove it" in fails(own.annotate, 2, capsys)


def test_a_split_on_a_disk_that_is_not_mounted_is_described(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(own.files.images)
    own.files.images.symlink_to("/mnt/disk/val")
    assert f"{own.files.images} (is a link to /mnt/disk/val, which does not exist)" in fails(own.annotate, 2, capsys)
    output = fails(lambda: check.main([str(own.root), "--workers", "0"]), 1, capsys)
    assert "own/val: is a link to /mnt/disk/val, which does not exist" in output
