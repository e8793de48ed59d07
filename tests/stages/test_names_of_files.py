"""Names as other systems write them, and what lies beside data, through every command that reads a dataset."""

import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.data.reader import PanopticReader
from panoptic.index import PanopticIndex
from panoptic.tools import unlabeled
from panoptic.tools.check import __main__ as check
from panoptic.tools.convert import __main__ as convert
from stages import annotate, download, evaluate
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
from tests.tiny_dataset import CATEGORIES, TinyImage, random_images, write_split

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


class OwnData:
    """A dataset in `own` with one split, `val`, whose files can be renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "own"
        self.drawn = random_images(seed=1, count=2)
        self.files = write_split(self.root, "val", self.drawn)

    def rename(self, in_json: str, on_disk: str) -> None:
        document = json.loads(self.files.panoptic_json.read_text())
        for entry in (*document["images"], *document["annotations"]):
            for part in (self.files.images, self.files.masks):
                old, new = part / entry["file_name"], part / on_disk.format(entry["file_name"])
                if old.exists() and old != new:
                    new.parent.mkdir(exist_ok=True)
                    old.rename(new)
            entry["file_name"] = in_json.format(entry["file_name"])
        self.files.panoptic_json.write_text(json.dumps(document))

    def pack(self) -> None:
        """Replace both folders by archives."""
        for part in (self.files.images, self.files.masks):
            with zipfile.ZipFile(part.with_name(f"{part.name}.zip"), "w") as archive:
                for file in sorted(part.rglob("*")):
                    if file.is_file():
                        archive.write(file, file.relative_to(part).as_posix())
            shutil.rmtree(part)

    def annotate(self, split: str = "val") -> PanopticIndex:
        params = self.folder / "params.yaml"
        dataset = f"{{name: own, root: {self.root}, train: {split}, val: {split}}}"
        params.write_text(f"dataset: {dataset}\ndownload: {{published: false}}\nannotate: {{workers: 0}}\n")
        common = ["--params", str(params), "--manifest", str(self.folder / "manifest.json")]
        download.main(common)
        annotate.main([*common, "--state", str(self.folder / "state"), "--output", str(self.folder / "out")])
        return PanopticIndex.load(self.folder / "out" / "val.index")

    def evaluate(self) -> float:
        """The PQ of the ground truth against itself."""
        parts = str(self.files.panoptic_json), str(self.files.masks)
        metrics = self.folder / "metrics.json"
        options = ("--ground-truth-json", "--ground-truth-folder", "--predictions-json", "--predictions-folder")
        pairs = zip(options, (*parts, *parts), strict=True)
        evaluate.main([*(item for pair in pairs for item in pair), "--metrics", str(metrics), "--bootstrap", "0"])
        return float(json.loads(metrics.read_text())["pq"]["all"])


@pytest.fixture
def own(tmp_path: Path) -> OwnData:
    return OwnData(tmp_path)


def _fails(command: Callable[[], object], status: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with an exit status; returns what it printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == status
    output = capsys.readouterr()
    return output.out + output.err


def _assert_equal(index: PanopticIndex, drawn: list[TinyImage]) -> None:
    reader = PanopticReader(index)
    for record, image in zip(index.records, drawn, strict=True):
        sample = reader.sample(record)
        assert np.array_equal(sample.image, image.image)
        assert np.array_equal(sample.ids, image.ids)


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
    _assert_equal(own.annotate(), own.drawn)
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
    _assert_equal(own.annotate(), own.drawn)


def test_names_that_leave_the_folder_are_still_refused(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    own.rename("images\\..\\..\\{}", "{}")
    output = _fails(lambda: check.main([str(own.root), "--workers", "0"]), 1, capsys)
    assert "ERROR name-leaves-folder (4)" in output
    assert "leaves the folder" in _fails(own.annotate, 2, capsys)
    assert "leaves the folder" in _fails(own.evaluate, 2, capsys)


def test_two_files_of_one_name_are_an_error_that_names_both(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (NFC, NFD):
        (own.files.images / f"{name}.png").write_bytes(b"")
    for command, status in ((lambda: check.main([str(own.root), "--workers", "0"]), 1), (own.annotate, 2)):
        output = _fails(command, status, capsys)
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
        assert found in _fails(command, status, capsys)


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
    _assert_equal(own.annotate(), own.drawn)
    index = _unlabeled(own.folder, images)
    assert [record.file_name for record in index.records] == ["000100.png", "000101.png"]


def _unlabeled(folder: Path, images: Path, *options: str) -> PanopticIndex:
    out = folder / "new.index"
    unlabeled.main([*_options(folder, images, out), *options])
    return PanopticIndex.load(out)


def _options(folder: Path, images: Path, out: Path) -> list[str]:
    categories = folder / "categories.json"
    categories.write_text(json.dumps(CATEGORIES))
    return ["--images", str(images), "--categories", str(categories), "--out", str(out)]


def test_litter_is_no_labelme_file(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_labelme(photos, "a.png", [shape("table", "rectangle", box(0, 0, WIDTH, HEIGHT))])
    for name in (*LITTER, "._a.json", "__MACOSX/a.json"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"\0litter")
    convert.main([str(photos), "--classes", str(write_classes(tmp_path)), "--out", str(tmp_path / "out")])
    assert list(read_split(tmp_path / "out")) == ["a.png"]


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
    index = _unlabeled(tmp_path, folder)
    assert len(index.records) == len(ENDINGS)
    output = capsys.readouterr().out
    assert "note: 4 files left out: 2 .heic (convert to JPEG or PNG), 1 without a suffix, 1 .mp4" in output
    broken = "'gone.jpg' is a link to /mnt/disk/gone.jpg, which does not exist; 'pipe.jpg' is a named pipe"
    assert f"note: 2 files left out: {broken}" in output


def test_images_that_a_list_does_not_name_are_counted(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    listed = own.folder / "list.json"
    document = json.loads(own.files.panoptic_json.read_text())
    listed.write_text(json.dumps({"images": document["images"][:1]}))
    assert len(_unlabeled(own.folder, own.files.images, "--images-json", str(listed)).records) == 1
    assert "note: 1 image left out that the list does not name" in capsys.readouterr().out


def test_names_without_an_encoding_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, jpeg = cv2.imencode(".jpg", np.full((8, 12, 3), 90, np.uint8))
    write_raw_zip(tmp_path / "new.zip", {"照片.jpg".encode("gb18030"): jpeg.tobytes()})
    _unlabeled(tmp_path, tmp_path / "new.zip")
    assert "note: 1 names do not tell their encoding, and may look wrong" in capsys.readouterr().out


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
    output = _fails(lambda: check.main([str(own.root), "--workers", "0", "--all"]), 1, capsys)
    assert f"own/val: 000100.png: {message}" in output
    images = own.files.images
    listed = ["--images-json", str(own.files.panoptic_json)]
    for command in (own.annotate, own.evaluate, lambda: _unlabeled(own.folder, images, *listed)):
        assert f"000100.png: {message}" in _fails(command, 2, capsys)


@pytest.mark.parametrize("kind", SPECIAL)
def test_a_json_that_is_no_file_is_an_error(own: OwnData, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = SPECIAL[kind]
    own.files.panoptic_json.unlink()
    make(own.files.panoptic_json)
    output = _fails(lambda: check.main([str(own.root), "--workers", "0", "--all"]), 1, capsys)
    assert f"panoptic_val.json: {message}" in output
    assert f"panoptic_val.json ({message})" in _fails(own.annotate, 2, capsys)


@pytest.mark.parametrize("kind", [kind for kind in SPECIAL if kind != "folder"])
def test_check_finds_what_dvc_would_stop_at(own: OwnData, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = SPECIAL[kind]
    make(own.files.images / "old.jpg")
    output = _fails(lambda: check.main([str(own.root), "--workers", "0"]), 1, capsys)
    assert "ERROR file-unusable (1)" in output
    assert f"own: val/old.jpg: {message}" in output
    _assert_equal(own.annotate(), own.drawn)


def test_a_split_on_a_disk_that_is_not_mounted_is_described(own: OwnData, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(own.files.images)
    own.files.images.symlink_to("/mnt/disk/val")
    assert f"{own.files.images} (is a link to /mnt/disk/val, which does not exist)" in _fails(own.annotate, 2, capsys)
    output = _fails(lambda: check.main([str(own.root), "--workers", "0"]), 1, capsys)
    assert "own/val: is a link to /mnt/disk/val, which does not exist" in output


def test_the_current_folder_can_be_given(
    own: OwnData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(own.root)
    check.main([".", "--workers", "0"])
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    monkeypatch.chdir(own.files.images)
    assert len(_unlabeled(own.folder, Path()).records) == 2
    assert "is a folder; name the index" in _fails(
        lambda: unlabeled.main(_options(own.folder, Path(), Path())), 2, capsys
    )
    params = own.folder / "params.yaml"
    own.annotate()
    command = ["--params", str(params), "--state", str(own.folder / "state"), "--output", "."]
    assert ".: cannot be replaced; name a file or folder in it" in _fails(lambda: annotate.main(command), 2, capsys)


@pytest.mark.parametrize("split", [NFC, NFD], ids=["composed", "decomposed"])
def test_the_name_of_a_split_may_be_composed_or_not(
    own: OwnData, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = own.files
    for part, name in ((parts.panoptic_json, NFC), (parts.masks, NFD), (parts.images, NFC)):
        part.rename(part.with_name(part.name.replace("val", name)))
    check.main([str(own.root), "--split", split, "--workers", "0"])
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    _assert_equal(own.annotate(split), own.drawn)
