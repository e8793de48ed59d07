"""The file of a panoptic index: named columns that processes read in place, and a description, checked before use.

The container is that of safetensors: eight bytes that give the length of a JSON header, the header, the columns one
after the other. It is mapped into memory: nothing is copied, and all processes that read it share its pages. The
header's only metadata is one text of JSON, because safetensors writes several in random order; its checksum covers
itself and every column. A mapped file must not be changed in place; `write_atomically` puts a new one there instead.
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

FORMAT = "panoptic-index"
VERSION = 2
_MAX_HEADER = 1 << 24  # bytes; that of a thousand categories has 150 000
_KINDS = {"I64": np.int64, "I32": np.int32, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_}

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class ColumnFile:
    """A sound file. `columns` look into the mapped file; `checksum` is that of all that it holds.

    Pickled as its path: who unpickles it maps the same file, and it must still have the same content.
    """

    path: Path
    description: JsonObject
    columns: Mapping[str, NDArray[np.generic]]
    checksum: int

    def column(self, name: str, kind: type[Scalar], *shape: int) -> NDArray[Scalar]:
        """The column of that name. Raises `ValueError` if it is missing, or of another kind or shape."""
        found = self.columns.get(name)
        if found is None or found.dtype != kind or found.shape != shape:
            described = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(f"column '{name}' is {described}, expected {np.dtype(kind)} {shape}")
        return found.view(kind)

    def starts(self, name: str, rows: int) -> NDArray[np.int64]:
        """Where the items of each row start, and the last end, (rows + 1,). Raises `ValueError` if none can."""
        starts = self.column(name, np.int64, rows + 1)
        if starts[0] != 0 or np.any(np.diff(starts) < 0):
            raise ValueError(f"column '{name}' is out of order")
        return starts

    def __reduce__(self) -> tuple[object, ...]:
        return _mapped_again, (self.path, self.checksum)


def write_columns(path: Path, description: Mapping[str, object], columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the file; equal content gives equal bytes. `description` is JSON."""
    own = {"format": FORMAT, "version": VERSION, "checksum": _checksum(description, columns)}
    metadata = {FORMAT: json.dumps(own | dict(description))}
    write_atomically(path, save({name: np.ascontiguousarray(column) for name, column in columns.items()}, metadata))


def map_columns(path: Path) -> ColumnFile:
    """Open a file that `write_columns` has written.

    Raises `DatasetError`, which says how to make it anew, for one that is missing, cut short, damaged, of another
    version or something else altogether.
    """
    try:
        with path.open("rb") as file:
            empty = not file.seek(0, os.SEEK_END)
            mapped = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, IsADirectoryError):
        raise DatasetError(f"{path}: there is no such index; check the path, or run `dvc repro annotate`") from None
    with refusing_unsound(path):
        found = _checked(path, mapped)
    if isinstance(mapped, mmap.mmap):
        # What was read for the checksum counts as memory of this process until it is given back; it stays cached.
        mapped.madvise(mmap.MADV_DONTNEED)
    return found


def _mapped_again(path: Path, checksum: int) -> ColumnFile:
    """In another process. Raises `DatasetError` if another index has taken its place."""
    file = map_columns(path)
    if file.checksum != checksum:
        raise DatasetError(f"{path}: the index was replaced while a program was using it; start that program again")
    return file


@contextmanager
def refusing_unsound(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with an index into one `DatasetError` that names the file and the hint."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        found = str(error).removesuffix("; add it").removesuffix("; correct it")
        raise DatasetError(
            f"{path}: not a panoptic index of version {VERSION}, or damaged ({found}); run `dvc repro annotate`"
        ) from None


def _checked(path: Path, mapped: bytes | mmap.mmap) -> ColumnFile:
    length = int.from_bytes(mapped[:8], "little")
    if not 2 <= length <= min(len(mapped) - 8, _MAX_HEADER):
        raise ValueError("another kind of file, or a part of one")
    header = JsonObject(_parsed(mapped[8 : 8 + length]), "header")
    whole = _parsed(header.child("__metadata__").text(FORMAT))
    own = JsonObject({key: whole.pop(key, None) for key in ("format", "version", "checksum")}, "header")
    if (own.values["format"], own.values["version"]) != (FORMAT, VERSION):
        raise ValueError(f"it is of version {own.values['version']}")
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
    """A column that lies in `data` with all of its bytes."""
    kind, shape, offsets = entry.text("dtype"), entry.integers("shape"), entry.integers("data_offsets")
    if kind not in _KINDS or len(shape) not in (1, 2) or min(shape) < 0 or len(offsets) != 2:
        raise ValueError(f"{entry.where}: {kind} {shape} {offsets}")
    begin, end = offsets
    expected = prod(shape) * np.dtype(_KINDS[kind]).itemsize
    if not 0 <= begin <= end <= len(data) or end - begin != expected:
        raise ValueError(f"{entry.where}: {begin} to {end} of {len(data)} bytes for {kind} {shape}")
    return np.frombuffer(data[begin:end], _KINDS[kind]).reshape(shape)
