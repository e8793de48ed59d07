"""Zip entries are read at their offsets: whatever the archive says, content is right or an error is raised."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from panoptic.io.zip_archive import ZipArchive
from panoptic.io.zip_entries import LARGEST_BYTES, LITTLE_BYTES, ZipEntry, read_entry
from tests.archive_files import overflowing_zip, write_zip

CONTENT = {"a/1.png": b"first " * 50, "2.jpg": bytes(range(256)) * 3, "empty": b"", "é/ß.png": b"umlaut"}


def _packed(compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    write_zip(stream, CONTENT, compression)
    return stream.getvalue()


def _zip64() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENT.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(content)
    return stream.getvalue()


KINDS: dict[str, Callable[[], bytes]] = {
    "deflated": _packed,
    "stored": lambda: _packed(zipfile.ZIP_STORED),
    "zip64": _zip64,
    "sizes after the contents, too few entries counted": lambda: overflowing_zip(CONTENT),
    "behind a program": lambda: b"#!/bin/sh\n" * 20 + _packed(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "val.zip"
    path.write_bytes(KINDS[kind]())
    source = open_files(path)
    assert source.names() == tuple(sorted(CONTENT))
    for name, content in CONTENT.items():
        assert source.read(name) == content
        with source.open(name) as file:
            assert file.read() == content


def test_names_of_old_programs_are_read(tmp_path: Path) -> None:
    data = bytearray(_packed().replace("é/ß".encode(), "é/ß".encode("cp437") + b"__"))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.rfind(signature) + flags, 0)  # without that for UTF-8
    (tmp_path / "val.zip").write_bytes(data)
    assert open_files(tmp_path / "val.zip").read("é/ß__.png") == CONTENT["é/ß.png"]


def _changed(name: str, offset: int, format_: str, value: int) -> bytes:
    """Make a zip file with a changed number in the directory entry of a file."""
    data = bytearray(_packed())
    struct.pack_into(format_, data, data.rfind(name.encode()) - 46 + offset, value)
    return bytes(data)


CLAIMS = {
    "password": (_changed("2.jpg", 8, "<H", 1), "'2.jpg' is encrypted"),
    "masked": (_changed("2.jpg", 8, "<H", 0x2000), "'2.jpg' is encrypted"),
    "method": (_changed("2.jpg", 10, "<H", 12), "'2.jpg' is packed by method 12"),
    "huge": (_changed("2.jpg", 24, "<I", 3_000_000_000), "'2.jpg' claims to hold 3000000000 bytes in"),
    "more than packed makes likely": (_changed("2.jpg", 24, "<I", 1 << 29), "'2.jpg' claims to hold 536870912 bytes"),
    "too little": (_changed("2.jpg", 24, "<I", 767), "'2.jpg' is damaged"),
    "too much": (_changed("2.jpg", 24, "<I", 769), "'2.jpg' is damaged"),
    "packed to the end": (_changed("2.jpg", 20, "<I", 100_000), "'2.jpg' is damaged.*ends within it"),
    "packed huge": (_changed("2.jpg", 20, "<I", 4_000_000_000), "'2.jpg' claims to hold"),
    "checksum": (_changed("2.jpg", 16, "<I", 5), "'2.jpg' is damaged.*checksum"),
    "place of another": (_changed("2.jpg", 42, "<I", 0), "'2.jpg' is damaged.*there is something else at its offset"),
    "place outside": (_changed("2.jpg", 42, "<I", 1 << 30), "'2.jpg' is damaged.*ends before it"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_entry_with_a_wrong_size_is_refused_before_memory_is_allocated(claim: str, tmp_path: Path) -> None:
    data, message = CLAIMS[claim]
    (tmp_path / "val.zip").write_bytes(data)
    source = open_files(tmp_path / "val.zip")
    assert source.read("a/1.png") == CONTENT["a/1.png"]
    tracemalloc.start()
    with pytest.raises(DatasetError, match=rf"val\.zip: {message}"):
        source.read("2.jpg")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_bomb_is_refused_but_not_a_small_file_that_grows(tmp_path: Path) -> None:
    zeros = {"bomb.png": bytes(2 * LITTLE_BYTES), "void.png": bytes(1 << 20)}
    write_zip(tmp_path / "val.zip", zeros)
    source = open_files(tmp_path / "val.zip")
    assert source.read("void.png") == zeros["void.png"]
    for use in (source.read, source.open):
        with pytest.raises(DatasetError, match=r"val\.zip: 'bomb\.png' claims to hold 33554432 bytes"):
            use("bomb.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused_by_name(method: int, tmp_path: Path) -> None:
    (tmp_path / "val.zip").write_bytes(_packed(method))
    source = open_files(tmp_path / "val.zip")
    for use in (source.read, source.open):
        with pytest.raises(DatasetError, match=rf"'2\.jpg' is packed by method {method}; pack it again"):
            use("2.jpg")


def test_recorded_entries_are_checked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "val.zip"
    path.write_bytes(_packed())
    source = open_files(path)
    assert isinstance(source, ZipArchive)
    entry = source.entry("2.jpg")
    with path.open("rb") as file:
        assert read_entry(file.fileno(), entry, path) == CONTENT["2.jpg"]
        for other in (
            replace(entry, offset=-1),
            replace(entry, offset=1 << 62),
            replace(entry, offset=entry.offset + 1),
            replace(entry, packed=-1),
            replace(entry, packed=entry.packed // 2),
            replace(entry, size=-1),
            replace(entry, size=LARGEST_BYTES + 1, packed=LARGEST_BYTES + 1),
            replace(entry, size=1 << 62),
            replace(entry, crc=-1),
            replace(entry, method=0),
            replace(entry, method=-1),
            replace(entry, name="3.jpg"),
            replace(entry, name="2.jp"),
        ):
            with pytest.raises(DatasetError, match=rf"val\.zip: '{other.name}'"):
                read_entry(file.fileno(), other, path)


def test_with_any_changed_byte_content_is_right_or_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "val.zip", np.random.default_rng(0)
    refused = 0
    for data in (_packed(), overflowing_zip(CONTENT)):
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= int(rng.integers(1, 256))
            path.write_bytes(changed)
            for name, content in CONTENT.items():
                try:
                    assert open_files(path).read(name) == content
                except DatasetError:
                    refused += 1
    assert refused > 1000


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "val.zip"
    path.write_bytes(_packed())
    source = open_files(path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"val\.zip: the archive is missing"):
        source.read("2.jpg")


def test_an_entry_is_what_the_directory_says() -> None:
    with zipfile.ZipFile(io.BytesIO(_packed())) as archive:
        info = archive.getinfo("2.jpg")
    entry = ZipEntry.of(info, Path("val.zip"))
    assert (entry.offset, entry.packed, entry.size) == (info.header_offset, info.compress_size, 768)
