"""One form for the names of files."""

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.names import NameTable, checked_name, is_litter, normal_name, normal_text

NFD = unicodedata.normalize("NFD", "Münze")


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        (".\\a.png", "a.png"),
        ("sub//deep/./a.png", "sub/deep/a.png"),
        ("images\\a.png", "images/a.png"),
        ("images/", "images"),
        (f"{NFD}/{NFD}.png", "Münze/Münze.png"),
        ("/data//a.png", "/data/a.png"),
        ("\\\\server\\share\\a.png", "/server/share/a.png"),
        ("C:\\Users\\a.png", "C:/Users/a.png"),
        (".", ""),
    ],
)
def test_names_have_one_form(name: str, normal: str) -> None:
    assert normal_name(name) == normal
    assert normal_name(normal) == normal


def test_texts_keep_their_slashes() -> None:
    assert normal_text(f"{NFD}\\./a") == "Münze\\./a"


@pytest.mark.parametrize(
    "name", ["", ".", "./", "..", "a/../b", "images\\..\\..\\x", "/etc/passwd", "\\\\host\\x", "C:\\x\\a.png", "a\0b"]
)
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match=r"own: the file name .* leaves the folder; use a plain relative name"):
        checked_name(name, Path("own"))


def test_dots_inside_of_names_are_kept() -> None:
    for name in ("..a.png", "a..png", "a:b.png", ".hidden/a.png"):
        assert checked_name(name, Path("own")) == name


@pytest.mark.parametrize(
    "name",
    [
        *("._a.jpg", "sub/._a.json", "__MACOSX/a.jpg", ".DS_Store", "x/Thumbs.db", "desktop.ini", "x/@eaDir/a.jpg"),
        *(".Trash-1000/files/a.jpg", ".git/objects/a", ".@__thumb/a.jpg", ".AppleDouble/a.jpg"),
    ],
)
def test_litter_of_operating_systems_is_known(name: str) -> None:
    assert is_litter(name)


def test_data_is_no_litter() -> None:
    assert not any(map(is_litter, ("_a.jpg", "a._b.jpg", "Thumbs.db.png", ".a.jpg", "Trash-1/a.jpg", "a.git")))


def test_dvc_ignores_the_same_litter() -> None:
    names = ["data/._a", "data/__MACOSX", "data/.DS_Store", "Thumbs.db", "x/desktop.ini", "x/@eaDir", "x/lost+found"]
    names += ["x/#recycle", "x/$RECYCLE.BIN", "x/System Volume Information", "x/.ipynb_checkpoints", "ehthumbs.db"]
    names += ["x/.Trash-1000", "x/#snapshot", "x/.@__thumb", "x/@Recycle", "x/.thumbnails", "x/.AppleDouble"]
    command = [sys.executable, "-m", "dvc", "check-ignore", *names, "data/a.jpg"]
    ignored = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert all(map(is_litter, names))
    assert ignored.stdout.split("\n") == [*names, ""], ignored.stderr


def table(*names: str) -> NameTable[str]:
    return NameTable("own", (((name,), name) for name in names))


def test_a_file_is_found_by_its_name_in_any_form() -> None:
    files = table(f"{NFD}.jpg", "x\\a.jpg", "._b.jpg")
    assert files.names == ("Münze.jpg", "x/a.jpg")
    for name, file in (("Münze.jpg", f"{NFD}.jpg"), (f"{NFD}.jpg", f"{NFD}.jpg"), ("./x//a.jpg", "x\\a.jpg")):
        found = files.find(name)
        assert found in files.names
        assert files.file(found) == file
    assert files.find("._b.jpg") == "._b.jpg", "litter that is asked for"
    assert files.find("b.jpg") is None


@pytest.mark.parametrize("names", [("Münze.jpg", f"{NFD}.jpg"), ("x/a.jpg", "x\\a.jpg")])
def test_two_files_of_one_name_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(DatasetError) as error:
        table(*names)
    assert all(ascii(name) in str(error.value) for name in names)


def test_other_encodings_are_other_names_of_a_file() -> None:
    files = NameTable("own.zip", [(("═╝╞¼.jpg", "图片.jpg"), 1), (("b.jpg",), 2)])
    assert files.find("图片.jpg") == "═╝╞¼.jpg"
    assert files.names == ("b.jpg", "═╝╞¼.jpg")
    twice = NameTable("own.zip", [(("é.jpg", "и.jpg"), 1), (("è.jpg", "и.jpg"), 2)])
    with pytest.raises(DatasetError, match=r"own\.zip: the files .* have the same name, 'и\.jpg'; rename one"):
        twice.find("и.jpg")


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("IMG_1.JPG", ("IMG_1.jpg",)),
        ("frame_0.png", ("images/default/frame_0.png",)),
        ("C:\\Users\\me\\data\\train\\a.jpg", ("train/a.jpg",)),
        ("/home/me/Val/A.jpg", ("val/a.jpg",)),
        ("a.jpg", ("train/a.jpg", "val/a.jpg")),
        ("b.jpg", ()),
    ],
)
def test_a_missing_file_is_looked_for_by_case_and_folder(name: str, similar: tuple[str, ...]) -> None:
    files = table("IMG_1.jpg", "old/IMG_1.JPG", "images/default/frame_0.png", "train/a.jpg", "val/a.jpg", "._b.jpg")
    assert files.similar(name) == similar


def test_the_message_says_where_a_file_may_be() -> None:
    files = table("IMG_1.jpg", "a/x.png", "b/x.png", "scan.tif")
    assert files.describe_similar("IMG_1.JPG") == ", but 'IMG_1.jpg' is there"
    assert files.describe_similar("x.png") == ", but 'a/x.png', 'b/x.png' are there"
    assert files.describe_similar("./scan.png") == ", but 'scan.tif' is there"
    assert files.describe_similar("none.png") == ""
