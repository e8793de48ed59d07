"""Folders with names and things of every kind in them."""

import errno
import os
import pickle
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from panoptic.io.folder import Folder

NFC, NFD = (unicodedata.normalize(form, "Münze") for form in ("NFC", "NFD"))


def _bind_socket(path: Path) -> None:
    if len(os.fsencode(path)) > 100:  # the name of a socket must be short
        os.chdir(path.parent)
        path = Path(path.name)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is a named pipe"),
    "socket": (_bind_socket, "is a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "dangling link": (
        lambda path: path.symlink_to("/nonexistent/x.png"),
        "is a link to /nonexistent/x.png, which",
    ),
    "link to itself": (lambda path: path.symlink_to(path), r"cannot be read \(Too many levels of symbolic"),
    "folder": (Path.mkdir, "is a folder"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "b.png").write_bytes(b"b")
    return tmp_path / "val"


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused_at_once(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    make, message = SPECIAL[kind]
    make(folder / "a.png")
    files = open_files(folder)
    assert files.names() == ("b.png",)
    for use in (files.open, files.read):
        with pytest.raises(DatasetError, match=rf"val/a\.png: {message}"):
            use("a.png")
    assert list(files.unusable()) == ([] if kind == "folder" else ["a.png"])


@pytest.fixture
def forbidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file and a folder without permission, which the system would grant to root."""
    (folder / "secret").mkdir()
    (folder / "secret" / "c.png").touch()
    listed, opened, refused = os.scandir, os.open, {str(folder / "b.png"), str(folder / "secret")}

    def refusing(call: Callable[..., object]) -> Callable[..., object]:
        def checked(path: os.PathLike[str] | str, *more: int) -> object:
            if os.fspath(path) in refused:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
            return call(path, *more)

        return checked

    monkeypatch.setattr(os, "scandir", refusing(listed))
    monkeypatch.setattr(os, "open", refusing(opened))
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) not in refused)
    return folder


def test_what_may_not_be_read_is_described(forbidden: Path) -> None:
    files = open_files(forbidden)
    assert files.names() == ("b.png",)
    with pytest.raises(DatasetError, match=r"b\.png: cannot be read \(Permission denied\); give a file"):
        files.read("b.png")
    assert files.unusable() == {
        "b.png": "cannot be read (Permission denied)",
        "secret": "cannot be listed (Permission denied)",
    }


def test_links_are_followed_but_not_in_circles(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "c.png").write_bytes(b"c")
    (folder / "disk").symlink_to(tmp_path / "disk")
    (folder / "again").symlink_to(folder)
    (tmp_path / "disk" / "up").symlink_to(folder)
    files = open_files(folder)
    assert files.names() == ("b.png", "disk/c.png")
    assert files.read("disk/c.png") == b"c"
    assert files.unusable() == {}


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        (f"{NFD}.png", f"{NFC}.png"),
        (f"{NFC}.png", f"{NFD}.png"),
        (f"{NFD}/a.png", f".\\{NFC}\\a.png"),
        ("sub\\a.png", "sub/a.png"),
        ("sub\\a.png", "sub\\a.png"),
        ("sub/a.png", ".//sub\\a.png"),
    ],
)
def test_a_file_is_read_by_its_name_in_any_form(folder: Path, written: str, asked: str) -> None:
    (folder / written).parent.mkdir(exist_ok=True)
    (folder / written).write_bytes(b"a")
    files = open_files(folder)
    assert files.read(asked) == pickle.loads(pickle.dumps(files)).read(asked) == b"a"
    assert len(files.names()) == 2


@pytest.mark.parametrize(
    ("name", "encoding"), [("照片.png", "gb18030"), ("写真.png", "cp932"), ("café.png", "latin-1")]
)
def test_a_name_that_is_not_utf8_is_found_in_its_encoding(folder: Path, name: str, encoding: str) -> None:
    (folder / os.fsdecode(name.encode(encoding))).write_bytes(b"a")
    (folder / os.fsdecode(b"gone" + name.encode(encoding))).symlink_to("/nonexistent")
    files = open_files(folder)
    assert files.read(name) == b"a"
    assert files.table.find(name) in files.names()
    for shown in (*files.names(), *files.unusable()):
        assert shown.encode(), "it can be printed"


def test_two_files_of_one_name_are_refused(folder: Path) -> None:
    for name in (NFC, NFD):
        (folder / f"{name}.png").touch()
    files = open_files(folder)
    for use in (files.names, lambda: files.read(f"{NFC}.png")):
        with pytest.raises(DatasetError, match=r"Mu\\u0308nze.* and .*M\\xfcnze"):
            use()


def test_litter_is_not_listed_but_read_if_it_is_named(folder: Path) -> None:
    for name in ("._b.png", "Thumbs.db", "__MACOSX/b.png", "@eaDir/b.png", ".ipynb_checkpoints/b-checkpoint.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"litter")
    (folder / "._broken").symlink_to("/nonexistent")
    files = open_files(folder)
    assert files.names() == ("b.png",)
    assert files.read("._b.png") == b"litter"
    assert files.unusable() == {}


def test_a_missing_file_may_be_elsewhere(folder: Path) -> None:
    (folder / "images" / "default").mkdir(parents=True)
    (folder / "images" / "default" / "frame_0.PNG").touch()
    with pytest.raises(DatasetError, match=r"frame_0\.png: the file is missing, but 'images/default/frame_0\.PNG' is"):
        open_files(folder).read("frame_0.png")


@pytest.mark.parametrize("path", [".", "./", ""])
def test_the_current_folder_is_a_folder(folder: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert open_files(Path(path)).names() == ("b.png",)


def test_a_folder_that_is_no_folder_is_described(folder: Path) -> None:
    (folder / "gone").symlink_to("/mnt/disk")
    with pytest.raises(DatasetError, match=r"gone: is a link to /mnt/disk, which does not exist; check the path"):
        open_files(folder / "gone")


def test_a_pickled_folder_is_small(folder: Path) -> None:
    files = Folder(folder)
    files.names()
    assert len(pickle.dumps(files)) < 500
