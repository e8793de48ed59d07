"""The file of a panoptic index: named columns that are mapped into memory, and a description, checked before use.

The container is that of safetensors: the length of a JSON header in eight bytes, the header, and the columns one after
another. Because it is mapped, nothing is copied, and all processes that read it share its pages. The header has a
single metadata entry, a JSON text, because safetensors writes several entries in random order; its checksum covers the
description and every column. A mapped file must never be changed in place; `write_atomically` replaces it.
"""

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeVar

import deflate
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.json_fields import JsonObject
from panoptic.io.reading import open_file

FORMAT = "panoptic-index"
VERSION = 3
_MAX_HEADER = 1 << 24  # bytes; a thousand categories take 150 000
_TYPES = {"I64": np.int64, "I32": np.int32, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_}

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class ColumnFile:
    """A verified file. `columns` are views of the mapped file; `checksum` covers its whole content.

    It is pickled as its path: unpickling maps the same file, which must still have the same content.
    """

    path: Path
    description: JsonObject
    columns: Mapping[str, NDArray[np.generic]]
    checksum: int

    def column(self, name: str, dtype: type[Scalar], *shape: int) -> NDArray[Scalar]:
        """The column `name`. Raises `ValueError` if it is missing, or of another type or shape."""
        found = self.columns.get(name)
        if found is None or found.dtype != dtype or found.shape != shape:
            described = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(f"column '{name}' is {described}, expected {np.dtype(dtype)} {shape}")
        return found.view(dtype)

    def starts(self, name: str, rows: int) -> NDArray[np.int64]:
        """The start of the items of each row, and the last end, (rows + 1,). Raises `ValueError` if out of order."""
        starts = self.column(name, np.int64, rows + 1)
        if starts[0] != 0 or np.any(np.diff(starts) < 0):
            raise ValueError(f"column '{name}' is out of order")
        return starts

    def __reduce__(self) -> tuple[object, ...]:
        return _mapped_again, (self.path, self.checksum)


def write_columns(path: Path, description: Mapping[str, object], columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the file; equal content gives equal bytes. `description` must be JSON-like."""
    own = {"format": FORMAT, "version": VERSION, "checksum": _checksum(description, columns)}
    metadata = {FORMAT: json.dumps(own | dict(description))}
    write_atomically(path, save({name: np.ascontiguousarray(column) for name, column in columns.items()}, metadata))


def map_columns(path: Path) -> ColumnFile:
    """Open a file that `write_columns` has written.

    Raises `DatasetError`, which says how to write it again, if it is missing, cut short, damaged, of another version,
    or not an index at all.
    """
    try:
        if path.is_dir():
            raise FileNotFoundError
        with open_file(path) as file:
            empty = not file.seek(0, os.SEEK_END)
            mapped = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{path}: there is no such index; check the path, or run `dvc repro annotate`; for images without "
            "annotations, `python -m panoptic.tools.unlabeled` writes one"
        ) from None
    with refusing_unsound(path):
        found = _checked(path, mapped)
    if isinstance(mapped, mmap.mmap):
        # Pages that were read for the checksum count as memory of this process until released; they stay cached.
        mapped.madvise(mmap.MADV_DONTNEED)
    return found


def _mapped_again(path: Path, checksum: int) -> ColumnFile:
    """Map a file that was unpickled. Raises `DatasetError` if its content has changed since."""
    file = map_columns(path)
    if file.checksum != checksum:
        raise DatasetError(f"{path}: the index was replaced while a program was using it; start that program again")
    return file


@contextmanager
def refusing_unsound(path: Path) -> Iterator[None]:
    """Turn any error about the content of an index into a `DatasetError` that names the file and says what to do."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        found = str(error).removesuffix("; add it").removesuffix("; correct it")
        raise DatasetError(
            f"{path}: not a panoptic index of version {VERSION}, or damaged ({found}); run `dvc repro annotate` again"
        ) from None


def _checked(path: Path, mapped: bytes | mmap.mmap) -> ColumnFile:
    length = int.from_bytes(mapped[:8], "little")
    if not 2 <= length <= min(len(mapped) - 8, _MAX_HEADER):
        raise ValueError("another type of file, or a part of one")
    header = JsonObject(_parsed(mapped[8 : 8 + length]), "header")
    whole = _parsed(header.child("__metadata__").text(FORMAT))
    own = JsonObject({key: whole.pop(key, None) for key in ("format", "version", "checksum")}, "header")
    if (own.values["format"], own.values["version"]) != (FORMAT, VERSION):
        version = own.values["version"]
        is_earlier = own.values["format"] == FORMAT and isinstance(version, int) and version < VERSION
        raise ValueError(f"it is of version {version}{', written by an earlier release' if is_earlier else ''}")
    data = memoryview(mapped)[8 + length :]
    columns = {name: _column(header.child(name), data) for name in header.values if name != "__metadata__"}
    if sum(column.nbytes for column in columns.values()) != len(data):
        raise ValueError("its length is wrong")
    checksum = own.integer("checksum")
    if checksum != _checksum(whole, columns):
        raise ValueError("its checksum is wrong")
    return ColumnFile(path, JsonObject(whole, "header"), columns, checksum)


def _checksum(description: Mapping[str, object], columns: Mapping[str, NDArray[np.generic]]) -> int:
    checksum = int(deflate.crc32(json.dumps(description).encode()))
    for name in sorted(columns):
        checksum = deflate.crc32(np.ascontiguousarray(columns[name]).reshape(-1).view(np.uint8), checksum)
    return checksum


def _parsed(text: str | bytes) -> dict[str, object]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__} in place of an object")
    return document


def _column(entry: JsonObject, data: memoryview) -> NDArray[np.generic]:
    """A view of the column in `data`. Raises `ValueError` unless all of its bytes are there."""
    dtype, shape, offsets = entry.text("dtype"), entry.integers("shape"), entry.integers("data_offsets")
    if dtype not in _TYPES or len(shape) not in (1, 2) or min(shape) < 0 or len(offsets) != 2:
        raise ValueError(f"{entry.where}: {dtype} {shape} {offsets}")
    begin, end = offsets
    expected = prod(shape) * np.dtype(_TYPES[dtype]).itemsize
    if not 0 <= begin <= end <= len(data) or end - begin != expected:
        raise ValueError(f"{entry.where}: {begin} to {end} of {len(data)} bytes for {dtype} {shape}")
    return np.frombuffer(data[begin:end], _TYPES[dtype]).reshape(shape)
