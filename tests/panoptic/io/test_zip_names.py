"""Names in zip archives that other systems wrote."""

import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from panoptic.datasets.layout import describe_skipped
from panoptic.format.categories import CategoryTable
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from tests.raw_zip import write_raw_zip
from tests.tiny_dataset import CATEGORIES

NFD = unicodedata.normalize("NFD", "Münze")
ENCODINGS = {
    "Windows, Chinese": ("图片1.jpg", "gb18030"),  # which is valid UTF-8 by chance
    "Windows, Chinese, in a folder": ("训练/照片.jpg", "gb18030"),
    "Windows, Central European": ("żółw/łąka.jpg", "cp1250"),
    "DOS, Central European": ("żółw/łąka.jpg", "cp852"),
    "Windows, Greek": ("φωτο.jpg", "cp1253"),
    "Windows, Turkish": ("İşçi_ğ.jpg", "cp1254"),
    "Windows, Arabic": ("صورة.jpg", "cp1256"),
    "Windows, Hebrew": ("תמונה.jpg", "cp1255"),
    "Windows, Thai": ("ภาพ.jpg", "cp874"),
    "Unix, Japanese": ("写真.jpg", "euc_jp"),
    "Unix, Russian": ("фото.jpg", "koi8_r"),
    "Windows, Japanese": ("写真/表.jpg", "cp932"),  # with a backslash as second byte
    "Windows, Korean": ("사진.jpg", "cp949"),
    "Windows, Chinese of Taiwan": ("圖片.jpg", "cp950"),
    "Windows, Western": ("smørbrød.jpg", "cp850"),
    "Windows, Russian": ("фото.jpg", "cp866"),
    "DOS": ("Münze.jpg", "cp437"),
    "7-Zip": ("Straße.jpg", "cp1252"),
    "Linux": ("Münze.jpg", "utf-8"),
}


@pytest.mark.parametrize("system", ENCODINGS)
def test_a_file_is_found_whatever_the_encoding_of_its_name(system: str, tmp_path: Path) -> None:
    name, encoding = ENCODINGS[system]
    path = tmp_path / "val.zip"
    write_raw_zip(path, {name.encode(encoding): b"content", b"b.jpg": b"b"})
    files = open_files(path)
    assert len(files.names()) == 2
    assert files.read(name) == b"content"
    with files.open(name) as file:
        assert file.read() == b"content"
    assert files.table.find(name) in files.table.undecided


@pytest.mark.parametrize("system", ENCODINGS)
def test_an_index_finds_it_without_the_directory(system: str, tmp_path: Path) -> None:
    name, encoding = ENCODINGS[system]
    path = tmp_path / "val.zip"
    write_raw_zip(path, {f"val/{name}".encode(encoding): b"content"})
    index = PanopticIndex(CategoryTable.from_json(CATEGORIES), path, path, (ImageRecord(1, name, name, 1, 1, ()),))
    index.save(tmp_path / "val.index")
    files = PanopticIndex.load(tmp_path / "val.index").image_files()
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"PK\x01\x02")])  # without its directory
    assert files.read(name) == b"content"


def test_the_name_of_the_archive_tells_the_encoding_too(tmp_path: Path) -> None:
    write_raw_zip(tmp_path / "图片.zip", {"图片/照片.jpg".encode("gb18030"): b"a"})
    assert open_files(tmp_path / "图片.zip").names() == ("照片.jpg",)


def test_the_unicode_path_of_info_zip_is_read(tmp_path: Path) -> None:
    raw = b"#U56fe#U7247\xff.jpg"
    field = struct.pack("<BI", 1, zlib.crc32(raw)) + "图片.jpg".encode()
    write_raw_zip(tmp_path / "val.zip", {raw: b"a"}, struct.pack("<HH", 0x7075, len(field)) + field)
    files = open_files(tmp_path / "val.zip")
    assert files.names() == ("图片.jpg",)
    assert files.read("图片.jpg") == b"a"
    assert files.table.undecided == frozenset()


def test_a_unicode_path_of_another_name_is_ignored(tmp_path: Path) -> None:
    field = struct.pack("<BI", 1, 5) + b"other.jpg"
    write_raw_zip(tmp_path / "val.zip", {"é.jpg".encode(): b"a"}, struct.pack("<HH", 0x7075, len(field)) + field)
    assert open_files(tmp_path / "val.zip").names() == ("é.jpg",)


def test_a_damaged_extra_field_is_no_name(tmp_path: Path) -> None:
    write_raw_zip(tmp_path / "val.zip", {"é.jpg".encode(): b"a"}, b"\x75\x70\x03\x00\x01\x02\x03\x04\x05\x06")
    assert open_files(tmp_path / "val.zip").read("é.jpg") == b"a"


def test_files_beside_the_folder_of_an_archive_are_named(tmp_path: Path) -> None:
    write_raw_zip(
        tmp_path / "图片.zip",
        {name.encode("gb18030"): b"a" for name in ("图片/照片.jpg", "b.jpg", "__MACOSX/._b.jpg", "图片2/c.jpg")},
    )
    files = open_files(tmp_path / "图片.zip")
    assert files.names() == ("照片.jpg",)
    assert next(iter(files.unusable())) == "b.jpg"
    assert len(files.unusable()) == 2
    assert "'b.jpg' is not in '图片/', the folder of the archive's own name" in next(describe_skipped(files))


@pytest.mark.parametrize(
    "name", ["../up.jpg", "a/../../up.jpg", "/etc/up.jpg", "C:/up.jpg", "x" * 300, "d/" * 101 + "a"]
)
def test_names_that_no_folder_can_hold_are_left_out(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for each in ("a.jpg", name):
            archive.writestr(each, each)
    files = open_files(tmp_path / "photos.zip")
    assert files.names() == ("a.jpg",)
    (said,) = describe_skipped(files)
    assert said.startswith(f"1 file left out: '{name:.80}' ")
    assert "leaves the folder" in said or "give it a shorter name" in said
    with pytest.raises(DatasetError):
        files.read(name)


@pytest.mark.parametrize("prefix", ["", "./", "val/", ".\\val\\"])
def test_names_of_archives_have_the_normal_form(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "val.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (f"{NFD}.jpg", "sub\\a.jpg", "sub\\", "__MACOSX/val/._a.jpg", "Thumbs.db", "._b.jpg"):
            archive.writestr(f"{prefix}{name}", name)
    files = open_files(path)
    assert files.names() == ("Münze.jpg", "sub/a.jpg")
    assert files.read("sub/a.jpg") == b"sub\\a.jpg"
    assert files.read(f"./{NFD}.jpg") == f"{NFD}.jpg".encode()
    assert files.read("._b.jpg") == b"._b.jpg"


@pytest.mark.parametrize("names", [("Münze.jpg", f"{NFD}.jpg"), ("sub/a.jpg", "sub\\a.jpg")])
def test_two_files_of_one_name_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "val.zip", "w") as archive:
        for name in names:
            archive.writestr(name, name)
    with pytest.raises(DatasetError) as error:
        open_files(tmp_path / "val.zip")
    assert all(ascii(name) in str(error.value) for name in names)
    assert "have the same name" in str(error.value)


def test_a_missing_file_may_be_elsewhere(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "val.zip", "w") as archive:
        archive.writestr("images/A.jpg", b"")
    with pytest.raises(DatasetError, match=r"no file 'a\.jpg' inside, but 'images/A\.jpg' is there"):
        open_files(tmp_path / "val.zip").read("a.jpg")
