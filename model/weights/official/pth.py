"""Files of the published code: a pickle of state dict and training metadata, read without running code."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.weights.files import WeightsError, is_safetensors, named_tensors, read_pickle
from panoptic.io.files import write_atomically


@dataclass(frozen=True)
class PthFile:
    """Content of a checkpoint of the published code."""

    state: Mapping[str, Tensor]  # without the prefix that distributed training adds to every name
    prefix: str
    meta: Mapping[str, object]
    left_out: tuple[str, ...]  # other things in the file, for example the optimizer's state
    sha256: str


def read_pth(path: Path) -> PthFile:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Raises:
        WeightsError: the file is missing, damaged or of another type, or asks to run code.
    """
    if is_safetensors(path):
        raise WeightsError(
            f"{path}: is a safetensors file, not a .pth of the published code; to convert ours: --to-official"
        )
    document = read_pickle(path)
    if not isinstance(document, dict):
        raise WeightsError(f"{path}: holds a {type(document).__name__}; expected a dict with the key 'state_dict'")
    wrapped = "state_dict" in document
    where = "'state_dict'" if wrapped else "the file, which has no key 'state_dict',"
    state, prefix = named_tensors(document["state_dict"] if wrapped else document, f"{path}: {where}")
    meta = document.get("meta") if wrapped else None
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return PthFile(
        state=state,
        prefix=prefix,
        meta=meta if isinstance(meta, dict) else {},
        left_out=tuple(str(key) for key in document if key not in ("state_dict", "meta")) if wrapped else (),
        sha256=sha256,
    )


def write_pth(path: Path, state: Mapping[str, Tensor], meta: Mapping[str, object]) -> None:
    """Write a checkpoint as the published code does, complete or not at all."""
    buffer = io.BytesIO()  # torch reports a full disk as an internal error, so it writes to memory
    torch.save({"meta": dict(meta), "state_dict": dict(state)}, buffer)
    write_atomically(path, buffer.getvalue())
