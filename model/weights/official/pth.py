"""Files of the published code: a pickle of state dict and training metadata, read without running code."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model.weights.loading.files import WeightsError, WeightsFile, is_safetensors, read_weights
from panoptic.io.files import write_atomically


@dataclass(frozen=True)
class PthFile(WeightsFile):
    """Content of a checkpoint of the published code."""

    sha256: str


def read_pth(path: Path, average: bool = False) -> PthFile:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Args:
        path: file of the published code, or of another that trains its networks.
        average: take the moving average of the weights (EMA) that the file holds beside them.

    Raises:
        WeightsError: the file is missing, damaged or of another type, asks to run code, or lacks what is to be taken.
    """
    if is_safetensors(path):
        raise WeightsError(
            f"{path}: is a safetensors file, not a .pth of the published code; to convert ours: --to-official"
        )
    file = read_weights(path, average)
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return PthFile(**vars(file), sha256=sha256)


def write_pth(path: Path, state: Mapping[str, Tensor], meta: Mapping[str, object]) -> None:
    """Write a checkpoint as the published code does, complete or not at all."""
    buffer = io.BytesIO()  # torch reports a full disk as an internal error, so it writes to memory
    torch.save({"meta": dict(meta), "state_dict": dict(state)}, buffer)
    write_atomically(path, buffer.getvalue())
