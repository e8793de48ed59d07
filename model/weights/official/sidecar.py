"""The sidecar: parts of a published checkpoint beyond the network, kept beside our weights for converting back.

`model.unused.safetensors` holds the unused entries as tensors and, in its header as JSON, the names and types of all
published entries in their order, and the metadata of their training.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.weights.loading.layout import type_name
from model.weights.official.pth import PthFile
from panoptic.io.files import write_atomically
from panoptic.io.reading import require_file

FORMAT = "panoptic-segformer-unused/1"


class SidecarError(ValueError):
    """A sidecar that is missing, or does not belong to the weights."""


@dataclass(frozen=True)
class Sidecar:
    """Data that turns a network's entries back into the checkpoint they come from."""

    unused: Mapping[str, Tensor]
    types: Mapping[str, str]  # of all published entries, in their order
    meta: Mapping[str, object]
    prefix: str
    source: str  # SHA-256 of the checkpoint's file

    @classmethod
    def of(cls, pth: PthFile, unused: Mapping[str, Tensor]) -> "Sidecar":
        """Make the sidecar of a published checkpoint and its unused entries; keeps metadata that JSON can express."""
        types = {name: type_name(tensor.dtype) for name, tensor in pth.state.items()}
        meta = {key: value for key, value in pth.meta.items() if _is_json(value)}
        return cls(unused, types, meta, pth.prefix, pth.sha256)

    def complete(self, used: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Combine with the network's entries to all published entries, in their order and types."""
        entries = {**used, **self.unused}
        assert entries.keys() == self.types.keys()
        return {f"{self.prefix}{name}": entries[name].to(getattr(torch, kind)) for name, kind in self.types.items()}


def sidecar_path(weights: Path) -> Path:
    """Path of the sidecar of one of our weight files."""
    return weights.with_suffix(".unused.safetensors")


def save_sidecar(path: Path, sidecar: Sidecar) -> None:
    """Write a sidecar, complete or not at all."""
    write_atomically(path, encode_sidecar(sidecar))


def encode_sidecar(sidecar: Sidecar) -> bytes:
    """Encode a sidecar as a safetensors file."""
    header = {
        "format": FORMAT,
        "types": json.dumps(dict(sidecar.types)),
        "meta": json.dumps(dict(sidecar.meta)),
        "prefix": sidecar.prefix,
        "source": sidecar.source,
    }
    tensors = {name: tensor.clone().contiguous() for name, tensor in sidecar.unused.items()}
    return save(tensors, header)


def load_sidecar(path: Path) -> Sidecar:
    """Read what `save_sidecar` wrote."""
    try:
        with safe_open(require_file(path), framework="pt") as file:
            header = file.metadata() or {}
            unused = {name: file.get_tensor(name) for name in file.offset_keys()}
    except (OSError, SafetensorError) as error:
        raise SidecarError(
            f"{path} cannot be read as safetensors ({error}); convert the published file again"
        ) from None
    if header.get("format") != FORMAT:
        raise SidecarError(f"{path} is not of format {FORMAT!r}; convert the published file again")
    return Sidecar(unused, json.loads(header["types"]), json.loads(header["meta"]), header["prefix"], header["source"])


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
