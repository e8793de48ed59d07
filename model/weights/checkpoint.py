"""This project's weight files: a safetensors file with the weights, and a JSON file that describes them.

The header of the safetensors file has all that its use needs (network, classes, input sizes, merging), so that the
file works alone; the JSON file repeats this and adds where the weights come from. It also has the SHA-256 of the
weights and, in its last line, that of itself without this line. Both are verified before anything is used; without the
JSON file, it is the SHA-256 of the tensors, in the header. Files of earlier versions have none, which is said when they
are loaded.
"""

import hashlib
import json
import re
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.pixels import IMAGE_MEAN, IMAGE_STD
from model.weights.checks import entry_issues, shown_issues
from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError
from panoptic.io.files import Replacement, write_atomically, write_together
from panoptic.io.json_fields import JsonObject, encode_json, parse_json
from panoptic.io.reading import open_file, read_file, require_file
from panoptic.runtime.fingerprint import file_digest

FORMAT = "panoptic-segformer/3"
RENAMED = {
    FORMAT: {},
    "panoptic-segformer/2": {},
    "panoptic-segformer/1": {"query_initialisation": "query_initialization", "centre": "center"},
}
"""Settings of the network and their values that have other names in a file's format, for every format that is read."""
_OWN_DIGEST = re.compile(rb',\n "sha256": "([0-9a-f]{64})"(?=\n\}\n\Z)')
_FIELDS = ("format", "model", "categories", "input", "merging", "provenance", "weights_sha256", "sha256")
_HEADER = "panoptic"
"""Entry of the safetensors header: one alone, as the library writes several in any order."""


_INPUT = ("shorter", "longer", "mask_layer", "precision")
_NORMALIZATION = {"mean": list(IMAGE_MEAN), "std": list(IMAGE_STD)}


class CheckpointError(ValueError):
    """A weight file, or the JSON file beside it, cannot be used."""


@dataclass(frozen=True)
class Description:
    """Content of the JSON file beside a weight file: the network, its classes, and the origin of its weights."""

    config: NetworkConfig
    categories: CategoryTable
    provenance: dict[str, str]
    inference: InferenceSettings | None = field(default=None, kw_only=True)
    """Sizes and merging that the weights were validated with; None in files of earlier versions, and for a state."""
    digest: str = field(default="", kw_only=True)
    """SHA-256 of the weight file; empty if the JSON file has none, as that of a state, which changes all the time."""
    tensors_digest: str = field(default="", kw_only=True)
    """SHA-256 of the tensors alone, from the header, where there is no JSON file."""


@dataclass(frozen=True)
class Checkpoint(Description):
    """A trained network with everything needed to use it and to trace its origin."""

    network: PanopticSegFormer


def metadata_path(weights: Path) -> Path:
    """Return the path of the JSON file that belongs to a weight file."""
    return weights.with_suffix(".json")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `path` and the JSON file beside it, both completely or not at all."""
    with write_together() as files:
        add_checkpoint(files, path, checkpoint)


def add_checkpoint(files: Replacement, path: Path, checkpoint: Checkpoint) -> None:
    """Add `path` and the JSON file beside it to files that are written together."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    plain = save(state)
    tensors = hashlib.sha256(memoryview(plain)[_data_offset(plain) :]).hexdigest()
    content = save(state, {_HEADER: json.dumps(_usage(checkpoint) | {"tensors_sha256": tensors})})
    files.write(path, content)
    files.write(metadata_path(path), encode_description(checkpoint, hashlib.sha256(content).hexdigest()))


def _data_offset(start: bytes) -> int:
    """Where the tensors of a safetensors file begin: after the length of its header, and the header."""
    return 8 + int.from_bytes(start[:8], "little")


def save_description(path: Path, description: Description, digest: str = "") -> None:
    """Write the JSON file beside the weights at `path`, whose SHA-256 is `digest`, completely or not at all."""
    write_atomically(metadata_path(path), encode_description(description, digest))


def encode_description(description: Description, digest: str) -> bytes:
    """Format the JSON file of weights whose SHA-256 is `digest`; its last line is the SHA-256 of the rest."""
    metadata = _usage(description) | {"provenance": description.provenance}
    content = encode_json(metadata | ({"weights_sha256": digest} if digest else {}))
    own = f',\n "sha256": "{hashlib.sha256(content).hexdigest()}"'.encode()
    return content.removesuffix(b"\n}\n") + own + b"\n}\n"


def _usage(description: Description) -> dict[str, object]:
    """What the use of the weights needs; of the settings of inference, those that decide the result."""
    usage: dict[str, object] = {
        "format": FORMAT,
        "model": asdict(description.config),
        "categories": description.categories.to_json(),
    }
    if (settings := description.inference) is None:
        return usage
    sizes = {name: getattr(settings, name) for name in _INPUT}
    return usage | {"input": sizes | _NORMALIZATION, "merging": asdict(settings.merging)}


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a file that this or an earlier version's `save_checkpoint` wrote.

    Returns:
        The network in eval mode on the CPU, and its description.

    Raises:
        CheckpointError: a file is damaged, of another format, or does not fit the other file.
    """
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
    # Compared before the network is built, which takes as much memory as the JSON file asks for.
    if issues := entry_issues(state, meta_entries(*sizes)):
        raise CheckpointError(
            f"{path} does not fit the network that {metadata_path(path)} describes; {shown_issues(issues)}; copy both "
            "files again, or train again"
        )
    network = PanopticSegFormer(*sizes).eval()
    network.load_state_dict(state)
    return Checkpoint(network=network, **{each.name: getattr(description, each.name) for each in fields(description)})


def meta_entries(config: NetworkConfig, num_things: int, num_stuff: int) -> dict[str, Tensor]:
    """Names, shapes and types of a network's entries, without memory for their values."""
    with torch.device("meta"):
        return dict(PanopticSegFormer(config, num_things, num_stuff).state_dict())


def load_description(path: Path) -> Description:
    """Read the JSON file beside the weights at `path`, or, if there is none, their header.

    Raises:
        CheckpointError: it is damaged or of another format, or describes no network.
    """
    beside = metadata_path(path)
    header = None if beside.exists() else _read_header(path)
    metadata = _read_description(beside) if header is None else header
    written = str(metadata.values.get("format"))
    if written not in RENAMED:
        raise CheckpointError(
            f"{metadata.where} has format {written!r}; this version reads {', '.join(RENAMED)}: "
            "use weights that its stages.train wrote"
        )
    new = RENAMED[written]
    settings = {
        new.get(name, name): new.get(value, value) if isinstance(value, str) else value
        for name, value in metadata.child("model").values.items()
    }
    try:
        config = NetworkConfig(**cast(dict[str, Any], settings))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{metadata.where} does not describe a network: {error}") from error
    return Description(
        config,
        CategoryTable.from_json(metadata.values.get("categories"), metadata.where),
        {name: str(value) for name, value in metadata.child("provenance").values.items()} if header is None else {},
        inference=_inference(metadata) if metadata.has("input") else None,
        digest=metadata.text("weights_sha256") if metadata.has("weights_sha256") else "",
        tensors_digest=metadata.text("tensors_sha256") if header is not None else "",
    )


def _inference(metadata: JsonObject) -> InferenceSettings:
    values = dict(metadata.child("input").values)
    normalization = {name: values.pop(name, None) for name in _NORMALIZATION}
    if normalization != _NORMALIZATION:
        raise CheckpointError(
            f"{metadata.where}: images are normalized by {normalization}, but this version knows only "
            f"{_NORMALIZATION}; use the version that wrote the weights"
        )
    try:
        merging = MergingSettings(**cast(dict[str, Any], metadata.child("merging").values))
        return InferenceSettings(**cast(dict[str, Any], values), merging=merging)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{metadata.where} has wrong settings of inference: {error}") from error


def _read_header(path: Path) -> JsonObject | None:
    """The description in the header of a weight file; None where there is no file or no description."""
    try:
        with safe_open(require_file(path), framework="pt") as file:
            content = (file.metadata() or {}).get(_HEADER)
    except (DatasetError, OSError, SafetensorError):
        return None
    where = f"{path} (header)"
    return None if content is None else JsonObject.of(parse_json(content.encode(), where), where)


def _read_description(path: Path) -> JsonObject:
    """Read a JSON file and hold it against the digest in its last line."""
    content = read_file(path)
    own = _OWN_DIGEST.search(content)
    plain = content[: own.start()] + content[own.end() :] if own else content
    found, expected = hashlib.sha256(plain).hexdigest(), own[1].decode() if own else ""
    hint = 'copy it again; if it was changed on purpose, remove its last line, "sha256", and the comma before it'
    if own and found != expected:
        raise CheckpointError(f"{path} is damaged: its SHA-256 is {found}, expected {expected}; {hint}")
    metadata = JsonObject.of(parse_json(content, str(path)), str(path))
    unknown = [name for name in metadata.values if name not in _FIELDS]
    if unknown or (not own and "sha256" in metadata.values):
        found = f"has the unknown field {unknown[0]!r:.60}" if unknown else "is not as it was written"
        raise CheckpointError(f"{path} is damaged: it {found}; {hint}")
    return metadata
