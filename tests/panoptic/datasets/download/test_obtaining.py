"""Archives are brought to their paths once, from the first source that has them, and refused if they are wrong."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.description import Archive
from panoptic.datasets.download import obtaining
from panoptic.datasets.download.obtaining import DownloadSettings, obtain
from panoptic.datasets.download.records import ArchiveRecords, working_alone
from panoptic.io.errors import DatasetError
from tests.archive_files import write_tar, write_zip
from tests.archive_server import Answer, ArchiveServer

QUICK = DownloadSettings(backoff_s=0)
IMAGES, LISTS, MASKS = "images.zip", "lists.zip", "masks.tar"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    rng = np.random.default_rng(0)
    write_zip(folder / IMAGES, {"images/1.jpg": rng.bytes(3000)})
    write_zip(folder / LISTS, {"lists/val.json": rng.bytes(700), "lists/train.json": rng.bytes(800)})
    write_tar(folder / MASKS, {"masks/1.png": rng.bytes(900)})
    with ArchiveServer(folder).running() as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def _table(server: ArchiveServer) -> tuple[Archive, ...]:
    """The archives of the server, as they are published."""

    def row(name: str, path: str, unpacked: tuple[str, ...] = (), repacked: str | None = None) -> Archive:
        content = (server.folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return Archive(f"{server.address}/{name}", len(content), digest, path, ("val", "train"), unpacked, repacked)

    return (
        row(IMAGES, IMAGES),
        row(LISTS, f"archives/{LISTS}", unpacked=("lists/{split}.json",)),
        row(MASKS, f"archives/{MASKS}", repacked="masks.zip"),
    )


def _obtain(table: tuple[Archive, ...], root: Path, settings: DownloadSettings = QUICK) -> dict[str, str]:
    with working_alone(root) as records:
        return dict(obtain(table, ["val"], settings, records))


def _files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


COMPLETE = {IMAGES, f"archives/{LISTS}", f"archives/{MASKS}", "lists/val.json", "masks.zip"} | {
    "archives/archives.json",
    "archives/lock",
}


def test_archives_are_fetched_once(server: ArchiveServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _table(server)
    digests = _obtain(table, root)
    assert digests == {archive.path: archive.sha256 for archive in table}
    assert _files(root) == COMPLETE
    assert len(server.requests) == 3
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*.zip")}
    monkeypatch.setattr(obtaining, "read_pieces", None)  # nothing is even read
    assert _obtain(table, root) == digests
    assert len(server.requests) == 3
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.zip")} == times


def test_a_touched_file_is_verified_and_a_removed_one_fetched_again(server: ArchiveServer, root: Path) -> None:
    table = _table(server)
    _obtain(table, root)
    os.utime(root / IMAGES, (1, 1))
    (root / "lists" / "val.json").write_text("edited")
    (root / "masks.zip").unlink()
    _obtain(table, root)
    assert _files(root) == COMPLETE
    assert len(server.requests) == 3
    assert len((root / "lists" / "val.json").read_bytes()) == 700
    (root / IMAGES).unlink()
    _obtain(table, root)
    assert len(server.requests) == 4


def test_a_wrong_file_at_the_path_is_left_alone_and_named(server: ArchiveServer, root: Path) -> None:
    table = _table(server)
    root.mkdir()
    (root / IMAGES).write_bytes(b"PK\x03\x04 mine")
    with pytest.raises(DatasetError, match=rf"{root / IMAGES}: has 9 bytes, expected {table[0].bytes}; remove or repl"):
        _obtain(table, root)
    content = bytearray((server.folder / IMAGES).read_bytes())
    content[-1] ^= 1
    (root / IMAGES).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{root / IMAGES}: has SHA-256 .* expected {table[0].sha256}; remove"):
        _obtain(table, root)
    assert (root / IMAGES).read_bytes() == content


def test_one_failed_archive_does_not_stop_the_others(server: ArchiveServer, root: Path) -> None:
    server.answers[IMAGES].append(Answer(status=404))
    server.answers[LISTS].append(Answer(body=b"<html>sorry</html>"))
    with pytest.raises(DatasetError) as caught:
        _obtain(_table(server), root)
    message = str(caught.value)
    assert "2 issues found" in message
    assert f"{IMAGES} could not be fetched: {server.address}/{IMAGES} answers 404" in message
    assert "a web page instead of the archive: 'sorry'" in message
    assert _files(root) == {f"archives/{MASKS}", "archives/archives.json", "archives/lock"}
    _obtain(_table(server), root)
    assert _files(root) == COMPLETE


def test_mirrors_are_tried_in_order_before_the_official_address(server: ArchiveServer, root: Path) -> None:
    mirrors = [f"{server.address}/one/", f"{server.address}/two"]
    server.answers[IMAGES].extend([Answer(status=404), Answer(status=403)])
    _obtain(_table(server)[:1], root, replace(QUICK, mirrors=mirrors))
    assert [request.path for request in server.requests] == ["/one/images.zip", "/two/images.zip", "/images.zip"]


def test_of_unpublished_archives_the_first_is_remembered(server: ArchiveServer, root: Path) -> None:
    table, settings = _table(server)[:1], replace(QUICK, mirrors=[server.address], published=False)
    first = _obtain(table, root, settings)
    (root / IMAGES).unlink()
    write_zip(server.folder / IMAGES, {"images/1.jpg": b"others"})
    with pytest.raises(DatasetError) as caught:
        _obtain(table, root, settings)
    assert f"expected {first[IMAGES]}" in str(caught.value)
    assert "the first that arrived, see" in str(caught.value)
    (root / "archives" / "archives.json").unlink()
    assert _obtain(table, root, settings) != first
    with pytest.raises(DatasetError, match=r"has .* bytes, expected"):
        _obtain(table, root)


def test_unpublished_archives_are_not_asked_for_at_the_official_address(server: ArchiveServer, root: Path) -> None:
    with pytest.raises(DatasetError, match=r"no address is known\. .*download\.mirrors"):
        _obtain(_table(server), root, replace(QUICK, published=False))
    assert not server.requests


def test_archives_in_a_folder_are_linked(server: ArchiveServer, root: Path, tmp_path: Path) -> None:
    table = _table(server)
    (server.folder / MASKS).rename(tmp_path / MASKS)
    before = {path: path.stat() for path in server.folder.iterdir()}
    root.mkdir()
    (root / IMAGES).symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=f"{MASKS} could not be fetched"):
        _obtain(table, root, replace(QUICK, from_folder=str(server.folder)))
    (tmp_path / MASKS).rename(server.folder / MASKS)
    _obtain(table, root)
    assert _files(root) == COMPLETE
    assert (root / IMAGES).samefile(server.folder / IMAGES)
    assert not (root / IMAGES).is_symlink()
    assert [request.path for request in server.requests] == [f"/{MASKS}"] * 2
    for path, stat in before.items():
        assert (path.stat().st_mtime_ns, path.stat().st_mode) == (stat.st_mtime_ns, stat.st_mode)


@pytest.mark.parametrize("links", [["symlink"], []])
def test_without_hard_links_it_is_a_symbolic_link_and_without_links_a_copy(
    server: ArchiveServer, root: Path, links: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    for name in {"link", "symlink"} - set(links):
        monkeypatch.setattr(os, name, refuse)
    _obtain(_table(server), root, replace(QUICK, from_folder=str(server.folder)))
    assert (root / IMAGES).is_symlink() == bool(links)
    assert (root / IMAGES).read_bytes() == (server.folder / IMAGES).read_bytes()
    assert _files(root) == COMPLETE
    assert not server.requests


def test_a_wrong_archive_in_the_folder_is_refused_by_name(server: ArchiveServer, root: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / IMAGES).write_bytes(b"<html>" + bytes(_table(server)[0].bytes - 6))
    with pytest.raises(DatasetError, match=f"{given / IMAGES}: is a web page instead of the archive"):
        _obtain(_table(server), root, replace(QUICK, from_folder=str(given)))
    assert not (root / IMAGES).exists()
    with pytest.raises(DatasetError, match=f"there is no folder {given}x"):
        _obtain(_table(server), root, replace(QUICK, from_folder=f"{given}x"))


def test_disk_space_is_checked_first(server: ArchiveServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _table(server)
    needed = sum(archive.bytes for archive in table) + 2 * (table[1].bytes + table[2].bytes)
    usage = type("Usage", (), {"free": needed - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        DatasetError, match=r"fetching and unpacking the archives needs .* of disk space.* dataset\.root"
    ):
        _obtain(table, root)
    assert not server.requests
    monkeypatch.setattr(usage, "free", needed)
    _obtain(table, root)
    monkeypatch.setattr(usage, "free", 0)
    _obtain(table, root)


def test_the_bytes_of_a_partial_file_need_no_space(
    server: ArchiveServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = _table(server)[:1]
    server.answers[IMAGES].append(Answer(cut_after=2000))
    with pytest.raises(DatasetError):
        _obtain(table, root, replace(QUICK, retries=0))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": table[0].bytes - 2000}))
    _obtain(table, root)
    assert server.ranges(IMAGES) == [None, "bytes=2000-"]


def test_two_programs_do_not_work_on_one_dataset(server: ArchiveServer, root: Path) -> None:
    with working_alone(root), pytest.raises(DatasetError, match=f"{root}: another download is running here"):
        _obtain(_table(server), root)
    _obtain(_table(server), root)


def test_a_full_disk_stops_all_downloads(server: ArchiveServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ArchiveRecords, path: str, sha256: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArchiveRecords, "add", full)
    server.answers[MASKS].append(Answer(hold_after=0))
    with pytest.raises(OSError, match="No space left"):
        _obtain(_table(server), root, replace(QUICK, timeout_s=0.05))
