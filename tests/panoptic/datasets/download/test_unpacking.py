"""Unpacking archives: requested files are unpacked, and hostile entries refused by name before anything is written."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.download.unpacking import repack_tar, unpack_zip
from panoptic.io.errors import DatasetError
from tests.archive_files import overflowing_zip, write_tar, write_zip

WANTED = "annotations/wanted.json"
CONTENT = {WANTED: b"[1]" * 900, "annotations/other.json": b"{}", "annotations/": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root" / "coco"


def _files(folder: Path) -> dict[str, bytes]:
    """All files outside and inside the folder, except the archive."""
    top = folder.parents[1]
    found = (path for path in top.rglob("*") if path.is_file() and path.parent != top)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _zip(folder: Path, entries: dict[str, bytes]) -> Path:
    path = folder.parents[1] / "archive.zip"
    write_zip(path, entries)
    return path


def test_only_requested_entries_are_unpacked(folder: Path) -> None:
    unpack_zip(_zip(folder, CONTENT), [WANTED], folder)
    assert _files(folder) == {WANTED: CONTENT[WANTED]}


def test_a_miscounted_zip_with_sizes_after_the_contents_is_read(folder: Path) -> None:
    archive = _zip(folder, {})
    archive.write_bytes(overflowing_zip(CONTENT))
    unpack_zip(archive, [WANTED], folder)
    assert _files(folder) == {WANTED: CONTENT[WANTED]}


def test_leftovers_of_a_kill_are_overwritten(folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    (folder / f"{WANTED}.part").write_bytes(b"x" * 9999)
    (folder / WANTED).write_bytes(b"old")
    unpack_zip(_zip(folder, CONTENT), [WANTED], folder)
    assert _files(folder) == {WANTED: CONTENT[WANTED]}


@pytest.mark.parametrize(
    "name",
    ["../evil", "annotations/../../evil", "/etc/evil", "..\\evil", "C:/evil", "C:evil", "\\\\host\\evil", "a\0b"],
)
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    archive = _zip(folder, CONTENT | {name.replace("\0", "?"): b"evil"})
    archive.write_bytes(archive.read_bytes().replace(b"a?b", b"a\0b"))
    with pytest.raises(DatasetError) as caught:
        unpack_zip(archive, [WANTED], folder)
    assert repr(name) in str(caught.value)
    assert str(archive) in str(caught.value)
    assert _files(folder) == {}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_a_device_in_a_zip_is_refused(folder: Path, kind: int) -> None:
    archive = _zip(folder, CONTENT)
    with zipfile.ZipFile(archive, "a") as file:
        info = zipfile.ZipInfo("annotations/special")
        info.external_attr = (kind | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DatasetError, match="entry 'annotations/special' is a link, a device or encrypted"):
        unpack_zip(archive, [WANTED], folder)
    assert _files(folder) == {}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", [WANTED, "annotations/./wanted.json", "annotations//wanted.json"])
def test_two_entries_of_one_name_are_refused(folder: Path, name: str) -> None:
    archive = _zip(folder, CONTENT)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(name, "another")
    with pytest.raises(DatasetError, match=f"entry '{name}' occurs twice"):
        unpack_zip(archive, [WANTED], folder)
    assert _files(folder) == {}


def test_a_bomb_is_refused(folder: Path) -> None:
    archive = _zip(folder, {WANTED: bytes(4 << 20)})
    with pytest.raises(DatasetError, match=f"entry '{WANTED}' claims to hold 4194304 bytes in 40..;"):
        unpack_zip(archive, [WANTED], folder)
    assert _files(folder) == {}


def test_a_file_too_large_for_the_disk_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        DatasetError, match=rf"'{WANTED}' of .*archive\.zip needs 0\.00 GB of disk space, but only 0\.00 GB are free"
    ):
        unpack_zip(_zip(folder, CONTENT), [WANTED], folder)


@pytest.mark.parametrize("position", [70, 900])
def test_a_wrong_byte_is_noticed_and_nothing_is_left(folder: Path, position: int) -> None:
    archive = _zip(folder, {WANTED: np.random.default_rng(0).bytes(3000)})
    content = bytearray(archive.read_bytes())
    content[position] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=f"entry '{WANTED}' is damaged"):
        unpack_zip(archive, [WANTED], folder)
    assert _files(folder) == {}


def test_encrypted_entries_are_refused(folder: Path) -> None:
    archive = _zip(folder, CONTENT)
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=f"entry '{WANTED}' is a link, a device or encrypted"):
        unpack_zip(archive, [WANTED], folder)


def test_a_missing_entry_and_half_an_archive_are_named(folder: Path) -> None:
    archive = _zip(folder, CONTENT)
    with pytest.raises(DatasetError, match=r"archive\.zip: no file 'annotations/none\.json' inside"):
        unpack_zip(archive, ["annotations/none.json"], folder)
    archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(DatasetError, match=r"archive\.zip: is damaged \(File is not a zip file\)"):
        unpack_zip(archive, [WANTED], folder)


IMAGES = {f"annotations_instance/training/{number}.png": bytes([number]) * 2000 for number in (3, 1, 2)}


def _tar(folder: Path, entries: dict[str, bytes], *special: tarfile.TarInfo) -> Path:
    path = folder.parents[1] / "archive.tar"
    write_tar(path, entries)
    with tarfile.open(path, "a") as file:
        for info in special:
            file.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def _special(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "annotations_instance/training/1.png"
    return info


def test_a_tar_becomes_a_zip_that_is_read_in_place(folder: Path) -> None:
    target = folder / "annotations_instance.zip"
    repack_tar(_tar(folder, IMAGES | {"annotations_instance/training/._1.png": b"litter"}), target)
    with zipfile.ZipFile(target) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == IMAGES
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
    assert list(_files(folder)) == ["annotations_instance.zip"]


def test_equal_contents_give_equal_bytes(folder: Path) -> None:
    once, again = folder / "once.zip", folder / "again.zip"
    repack_tar(_tar(folder, IMAGES), once)
    archive = _tar(folder, {})
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as file:
        for name, content in IMAGES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mtime = len(content), 1e9 + 0.5
            file.addfile(info, io.BytesIO(content))
    os.utime(archive, (1, 1))
    repack_tar(archive, again)
    assert once.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", tarfile.REGTYPE),
        ("/etc/evil", tarfile.REGTYPE),
        ("C:/evil", tarfile.REGTYPE),
        ("annotations_instance/training/1.png", tarfile.REGTYPE),
        ("annotations_instance/link", tarfile.SYMTYPE),
        ("annotations_instance/link", tarfile.LNKTYPE),
        ("annotations_instance/device", tarfile.CHRTYPE),
        ("annotations_instance/device", tarfile.BLKTYPE),
        ("annotations_instance/pipe", tarfile.FIFOTYPE),
        ("annotations_instance/sparse", tarfile.GNUTYPE_SPARSE),
    ],
)
def test_hostile_entries_of_a_tar_are_refused(folder: Path, name: str, kind: bytes) -> None:
    archive = _tar(folder, IMAGES, _special(name, kind))
    with pytest.raises(DatasetError) as caught:
        repack_tar(archive, folder / "out.zip")
    assert f"{name!r}" in str(caught.value)
    assert _files(folder) == {}


@pytest.mark.parametrize("damage", ["cut", "claims more", "gzip"])
def test_a_damaged_tar_is_refused(folder: Path, damage: str) -> None:
    archive = _tar(folder, IMAGES)
    content = archive.read_bytes()
    if damage == "cut":
        content = content[: content.rindex(b"\x02" * 9)]
    elif damage == "claims more":
        info = _special("annotations_instance/huge")
        info.size = 1 << 40
        content = content.rstrip(b"\0") + bytes(-len(content.rstrip(b"\0")) % 512) + info.tobuf()
    else:
        content = b"\x1f\x8b" + content
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=r"archive\.tar: is damaged"):
        repack_tar(archive, folder / "out.zip")
    assert _files(folder) == {}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["both", "both/a"], "entry 'both' is both a file and a folder"),
        (["d/" * 1500 + "a"], "is 1500 folders deep"),
        (["n" * 300], "parts of up to 300 bytes"),
    ],
)
def test_names_that_no_folder_can_hold_are_refused(folder: Path, names: list[str], message: str) -> None:
    archive = _zip(folder, CONTENT)
    with zipfile.ZipFile(archive, "a") as file:
        for name in names:
            file.writestr(name, "x")
    with pytest.raises(DatasetError, match=message):
        unpack_zip(archive, [WANTED], folder)
    assert _files(folder) == {}
