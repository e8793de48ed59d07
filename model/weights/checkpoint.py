"""This project's weight files: a safetensors file, and a JSON file with its description.

The SHA-256 of the weights is verified before anything is used: that of the file, in the JSON file, or else that of the
tensors, in the header. Files of earlier versions have none, which is said when they are loaded.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.families import build_network
from model.network.segmenter import Segmenter
from model.weights.checks import entry_issues, shown_issues
from model.weights.description import (
    HEADER,
    CheckpointError,
    Description,
    encode_description,
    load_description,
    metadata_path,
    usage_of,
)
from panoptic.io.files import Replacement, write_together
from panoptic.io.reading import open_file, require_file
from panoptic.runtime.fingerprint import file_digest

_NO_DIGEST = "0" * 64
"""In the header until the digest of the tensors behind it is known."""


@dataclass(frozen=True)
class Checkpoint(Description):
    """A trained network with everything needed to use it and to trace its origin."""

    network: Segmenter


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `path` and the JSON file beside it, both completely or not at all."""
    with write_together() as files:
        add_checkpoint(files, path, checkpoint)


def add_checkpoint(files: Replacement, path: Path, checkpoint: Checkpoint) -> None:
    """Add `path` and the JSON file beside it to files that are written together."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    content = save(state, {HEADER: json.dumps(usage_of(checkpoint) | {"tensors_sha256": _NO_DIGEST})})
    offset = _data_offset(content)
    before, _, after = content[:offset].rpartition(_NO_DIGEST.encode())
    tensors = hashlib.sha256(memoryview(content)[offset:]).hexdigest()
    content = b"".join((before, tensors.encode(), after, memoryview(content)[offset:]))
    files.write(path, content)
    files.write(metadata_path(path), encode_description(checkpoint, hashlib.sha256(content).hexdigest()))


def _data_offset(start: bytes) -> int:
    """Return the offset of the tensors in a safetensors file: after the length of its header, and the header."""
    return 8 + int.from_bytes(start[:8], "little")


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a file that this or an earlier version's `save_checkpoint` wrote.

    Returns:
        The network in eval mode on the CPU, and its description.

    Raises:
        CheckpointError: `path` is a folder; or a file is damaged, of another format, or does not fit the other file.
    """
    if path.is_dir():
        raise CheckpointError(
            f"{path}: is a folder; give the safetensors file that stages.train wrote (networks in transformers' layout,"
            " which are folders, can only be predicted with and scored: docs/comparators.md)"
        )
    description = load_description(path)
    digest = description.digest or description.tensors_digest
    try:
        state = load_file(require_file(path))
        found = file_digest(path) if description.digest else _tensors_digest(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); train again or copy it again"
        ) from error
    if not digest:
        print(f"{path} has no digest, as an earlier version wrote it; only its shapes are verified", file=sys.stderr)
    elif found != digest:
        other = f", or does not belong to {metadata_path(path)}" if description.digest else ""
        raise CheckpointError(
            f"{path} is damaged{other}: its SHA-256 is {found}, expected {digest}; copy both files again, or train "
            "again"
        )
    return build(description, state, path)


def _tensors_digest(path: Path) -> str:
    with open_file(path) as file:
        file.seek(_data_offset(file.read(8)))
        return hashlib.file_digest(file, "sha256").hexdigest()


def build(description: Description, state: dict[str, Tensor], path: Path) -> Checkpoint:
    """Build the network that a file describes, with the weights that it holds, in eval mode.

    Raises:
        CheckpointError: the weights are those of another network, of another type, or not finite.
    """
    config, categories = description.config, description.categories
    sizes = config, len(categories.things), len(categories.stuff)
    try:
        expected = meta_entries(*sizes)
    except ValueError as error:
        raise CheckpointError(f"{metadata_path(path)} does not describe a network: {error}") from error
    # Compared before the network is built, which takes as much memory as the JSON file asks for.
    if issues := entry_issues(state, expected):
        raise CheckpointError(
            f"{path} does not fit the network that {metadata_path(path)} describes; {shown_issues(issues)}; copy both "
            "files again, or train again"
        )
    network = build_network(*sizes).eval()
    network.load_state_dict(state)
    return Checkpoint(network=network, **{each.name: getattr(description, each.name) for each in fields(description)})


def meta_entries(config: NetworkConfig, num_things: int, num_stuff: int) -> dict[str, Tensor]:
    """Names, shapes and types of a network's entries, without memory for their values."""
    with torch.device("meta"):
        return dict(build_network(config, num_things, num_stuff).state_dict())
