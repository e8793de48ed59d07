import errno
import multiprocessing
import os
import pickle
import platform
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource, naming_disk_errors, open_files, replace_atomically, write_atomically

CONTENT = {f"{number}.bin": bytes([number]) * 5000 for number in range(20)} | {"deep/er/1.bin": b"deep"}


def _listed(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        path = tmp_path / "val" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "val"


@pytest.fixture(params=["", "val/"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A zip file with the entries at the top, or, as COCO has them, in a folder of the archive's name."""
    path = tmp_path / "zips" / "val.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in CONTENT.items():
            file.writestr(f"{request.param}{name}", data)
    return path


def test_a_zip_file_reads_like_its_folder(folder: Path, archive: Path) -> None:
    unpacked, packed = open_files(folder), open_files(archive)
    assert unpacked.names() == packed.names() == tuple(sorted(CONTENT))
    for name, data in CONTENT.items():
        assert unpacked.read(name) == packed.read(name) == data


def _read_all(source: FileSource, content: Mapping[str, bytes]) -> None:
    for _ in range(20):
        for name, data in content.items():
            assert source.read(name) == data


def test_the_archive_stands_in_for_a_missing_folder(folder: Path, archive: Path) -> None:
    source = open_files(archive.with_suffix(""))
    assert source.path == archive
    assert [source.read(name) for name in source.names()] == [open_files(folder).read(name) for name in source.names()]


def test_a_zip_opened_before_a_fork_is_read_by_several_processes_at_once(tmp_path: Path) -> None:
    # Large entries that do not shrink: with a shared file position the readers would get in each other's way.
    content = {f"{number}.bin": random.Random(number).randbytes(300_000) for number in range(4)}
    with zipfile.ZipFile(tmp_path / "val.zip", "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    source = open_files(tmp_path / "val.zip")
    # A forked process gets the object itself, open file and all; nothing is pickled.
    context = multiprocessing.get_context("fork")
    readers = [context.Process(target=_read_all, args=(source, content)) for _ in range(3)]
    for reader in readers:
        reader.start()
    _read_all(source, content)
    for reader in readers:
        reader.join()
    assert [reader.exitcode for reader in readers] == [0, 0, 0]


def test_a_pickled_zip_file_reads_alike(archive: Path) -> None:
    source = open_files(archive)
    source.read("0.bin")
    _read_all(pickle.loads(pickle.dumps(source)), CONTENT)


@pytest.mark.parametrize("name", ["../val/0.bin", "/etc/passwd", "deep/../../x", "", "a\\..\\b"])
def test_names_that_leave_the_folder_are_refused(folder: Path, archive: Path, name: str) -> None:
    for source in (open_files(folder), open_files(archive)):
        with pytest.raises(DatasetError, match="leaves the folder"):
            source.read(name)


def test_a_missing_file_is_named(folder: Path, archive: Path) -> None:
    for source in (open_files(folder), open_files(archive)):
        with pytest.raises(DatasetError, match=r"no\.bin"):
            source.read("no.bin")
    with pytest.raises(DatasetError, match="nowhere"):
        open_files(folder / "nowhere")
    with pytest.raises(DatasetError, match=r"0\.bin: neither"):
        open_files(folder / "0.bin")


def test_an_endless_file_is_refused_before_it_is_read(folder: Path) -> None:
    with (folder / "huge.png").open("wb") as file:
        file.truncate(1 << 40)  # which takes no disk
    (folder / "endless.png").symlink_to("/dev/zero")
    for name in ("huge.png", "endless.png"):
        with pytest.raises(DatasetError, match=rf"{name}: .*; give a"):
            open_files(folder).read(name)


def test_a_damaged_zip_entry_is_named(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        entry = file.infolist()[3]
    start = entry.header_offset + 30 + len(entry.filename)
    data[start : start + 4] = b"\xff\xff\xff\xff"
    archive.write_bytes(data)
    with pytest.raises(DatasetError, match=r"3\.bin.*damaged"):
        open_files(archive).read("3.bin")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "metrics.json"
    write_atomically(path, b"old")

    def interrupted() -> None:
        with replace_atomically(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert _listed(path.parent) == ["metrics.json"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_two_machines_that_write_one_file_do_not_share_a_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process ids are unique on one machine only."""
    path = tmp_path / "owner.json"
    with replace_atomically(path) as ours:
        monkeypatch.setattr(platform, "node", lambda: "another")
        ours.write_bytes(b"ours")
        write_atomically(path, b"theirs")
        assert path.read_bytes() == b"theirs"
    assert path.read_bytes() == b"ours"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for names in (["a", "b"], ["c"]):
        with replace_atomically(path) as partial:
            partial.mkdir()
            for name in names:
                (partial / name).touch()
        assert _listed(path) == names
    assert _listed(tmp_path) == ["out"]


def test_a_full_disk_is_reported_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"model\.safetensors.*No space left.*free disk space") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert _listed(tmp_path) == ["model.safetensors"]


def test_only_disk_errors_are_renamed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), naming_disk_errors(tmp_path):
        raise KeyError
