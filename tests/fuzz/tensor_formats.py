"""Files of arrays and tensors as trees of values, and back; an array is a dict of type, shape and bytes."""

import io
import tempfile
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load

from panoptic.index.file import FORMAT, write_columns
from tests.fuzz.formats import JSON, Format, build_json

_ARRAY = {"dtype", "shape", "data"}
_PICKLE = (
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"ctorch\nload\n",
    b"R",
    b"b",
    b"u",
    b"0",
    b"Q",
    b"\x95",
    b"\x80\x04",
)


def _parse_safetensors(data: bytes) -> object:
    """The header and the bytes behind it."""
    end = 8 + int.from_bytes(data[:8], "little")
    return [JSON.parse(data[8:end]), data[end:]]


def _build_safetensors(tree: object) -> bytes:
    assert isinstance(tree, list)
    header = build_json(tree[0])
    return len(header).to_bytes(8, "little") + header + bytes(tree[1])


def _parse_index(data: bytes) -> object:
    """The description, and the columns as arrays, without the checksum that covers both."""
    header = JSON.parse(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert isinstance(header, dict)
    description = JSON.parse(header["__metadata__"][FORMAT].encode())
    assert isinstance(description, dict)
    kept = {key: value for key, value in description.items() if key not in ("format", "version", "checksum")}
    columns = {
        name: {"dtype": column.dtype.str, "shape": list(column.shape), "data": column.tobytes()}
        for name, column in load(data).items()
    }
    return [kept, columns]


def _build_index(tree: object) -> bytes:
    assert isinstance(tree, list)
    description, columns = tree
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "index")
        write_columns(path, description, {name: _column(column) for name, column in columns.items()})
        return path.read_bytes()


def _column(tree: dict[str, object]) -> NDArray[np.generic]:
    dtype, shape, data = np.dtype(str(tree["dtype"])), tree["shape"], tree["data"]
    assert isinstance(shape, list)
    assert isinstance(data, bytes)
    size = prod(shape) * dtype.itemsize
    assert 0 <= size <= 1 << 20
    return np.frombuffer(data[:size].ljust(size, b"\0"), dtype).reshape(shape)


def _parse_pickle(data: bytes) -> object:
    return _to_tree(torch.load(io.BytesIO(data), weights_only=True))


def _build_pickle(tree: object) -> bytes:
    file = io.BytesIO()
    torch.save(_from_tree(tree), file)
    return file.getvalue()


def _to_tree(value: object) -> object:
    if isinstance(value, torch.Tensor):
        data = value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "data": data}
    if isinstance(value, dict):
        return {key: _to_tree(item) for key, item in value.items()}
    return [_to_tree(item) for item in value] if isinstance(value, list | tuple) else value


def _from_tree(tree: object) -> object:
    if isinstance(tree, list):
        return [_from_tree(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == _ARRAY:
        return _tensor(tree)
    return {key: _from_tree(item) for key, item in tree.items()}


def _tensor(tree: dict[str, object]) -> object:
    dtype, shape, data = getattr(torch, str(tree["dtype"]), None), tree["shape"], tree["data"]
    if not isinstance(dtype, torch.dtype) or not isinstance(shape, list) or not isinstance(data, bytes):
        return tree
    size = prod(shape) * dtype.itemsize
    assert 0 <= size <= 1 << 20
    content = bytearray(data[:size].ljust(size, b"\0"))
    return torch.frombuffer(content, dtype=dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)


SAFETENSORS = Format(_parse_safetensors, _build_safetensors, (b"F32", b"BF16", b"I64", b"BOOL", b"__metadata__"))
INDEX = Format(_parse_index, _build_index, (b"<i8", b"<i4", b"<u4", b"|u1", b"|b1", b"/dev/zero"))
PICKLE = Format(_parse_pickle, _build_pickle, (b"float16", b"bfloat16", b"int64", b"bool", b"complex64", *_PICKLE))
