"""Files that belong together replace earlier ones together, whatever is in their way."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from panoptic.io.files import replace_folder, write_together

NAMES = ("metrics.json", "per_class.json", "per_image.json")


def _write(out: Path, content: bytes) -> None:
    with write_together() as results:
        for name in NAMES:
            results.write(out / name, content)


def _contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_all_files_as_they_were(small_disk: Path) -> None:
    with pytest.raises(OSError, match=r"per_image\.json: No space left .*; free disk space") as caught:
        _write(small_disk, b"new" * 2500)
    assert caught.value.errno == errno.ENOSPC
    assert _contents(small_disk) == {}
    (small_disk / "metrics.json").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        _write(small_disk, b"new" * 2500)
    assert _contents(small_disk) == {"metrics.json": b"old"}


def test_a_refused_rename_leaves_all_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, b"old")
    rename = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if target == tmp_path / NAMES[1] and path.read_bytes() == b"new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(OSError, match=r"per_class\.json: Input/output error; choose another folder"):
        _write(tmp_path, b"new")
    assert _contents(tmp_path) == dict.fromkeys(NAMES, b"old")


def test_a_kill_between_two_renames_leaves_nothing_old_beside_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each rename the folder has old files alone, or new ones alone."""
    _write(tmp_path, b"old")
    rename, seen = Path.rename, []

    def recording(path: Path, target: Path) -> Path:
        done = rename(path, target)
        seen.append({file.read_bytes() for file in tmp_path.glob("*.json")})
        return done

    monkeypatch.setattr(Path, "rename", recording)
    _write(tmp_path, b"new")
    assert all(contents in (set(), {b"old"}, {b"new"}) for contents in seen)
    assert _contents(tmp_path) == dict.fromkeys(NAMES, b"new")


@pytest.mark.parametrize("kind", ["link", "dangling link", "mount point"])
def test_a_folder_on_another_disk_stays_there(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    target, out = tmp_path / "scratch" / "run", tmp_path / "out"
    target.parent.mkdir()
    if kind == "mount point":
        target = out = request.getfixturevalue("small_disk")
    else:
        out.symlink_to(target)
    if kind == "link":
        target.mkdir()
    for names in (("a", "b"), ("b", "c")):
        with replace_folder(out) as folder:
            (folder / "deep").mkdir()
            for name in names:
                (folder / "deep" / name).touch()
        assert [path.name for path in target.iterdir()] == ["deep"]
        assert sorted(path.name for path in (target / "deep").iterdir()) == list(names)
    assert kind == "mount point" or out.is_symlink()


def _make_link_nowhere(path: Path) -> None:
    path.symlink_to("/nonexistent/disk/run")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.touch, r"out: is no folder; remove it"),
        (_make_link_nowhere, r"could not write .*out: No such file or directory"),
        (lambda path: path.symlink_to(path), r"could not write .*out: .*(exists|symbolic)"),
    ],
)
def test_what_no_folder_replaces_is_refused_before_the_work(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    make(tmp_path / "out")
    with pytest.raises((ValueError, OSError), match=message), replace_folder(tmp_path / "out"):
        pytest.fail("the work has begun")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("folder", "folder: is a folder, which no file replaces"),
        ("pipe", "pipe: is a named pipe, which no file replaces"),
        ("/dev/null", "/dev/null: is a device"),
        ("/dev/stdout", "/dev/stdout: is a device"),
        ("a.json/b.json", "could not write .*b.json: .*; remove"),
        ("x" * 300, "could not write .*xxx: File name too long; choose a shorter name"),
        ("./folder/../a.json", "a.json: is to be written twice; name two files"),
    ],
)
def test_what_no_file_replaces_is_refused_before_the_work(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.json").write_bytes(b"old")
    with pytest.raises((ValueError, OSError), match=message), write_together() as results:
        results.require([tmp_path / "a.json", tmp_path / path])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.json", "folder", "pipe"]


def test_a_link_to_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """DVC may link results to its cache, whose files must never change."""
    (tmp_path / "cached").write_bytes(b"old")
    for name in NAMES:
        (tmp_path / name).symlink_to("cached")
    _write(tmp_path, b"new")
    assert (tmp_path / "cached").read_bytes() == b"old"
    assert (tmp_path / NAMES[0]).read_bytes() == b"new"


def test_a_file_may_have_the_longest_name(tmp_path: Path) -> None:
    _write(tmp_path / ("n" * 255), b"new")
    with write_together() as results:
        results.write(tmp_path / ("m" * 255), b"new")
    assert (tmp_path / ("m" * 255)).read_bytes() == b"new"
