"""The description of weights: network, classes, sizes and merging, in their header and in the JSON file beside them.

The header of the safetensors file has all that its use needs, so that the file works alone; the JSON file repeats this
and adds where the weights come from, their SHA-256 and, in its last line, that of itself without this line, which is
verified before anything is used. Files of earlier versions have no digests.
"""

import hashlib
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.pixels import IMAGE_MEAN, IMAGE_STD
from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.json_fields import JsonObject, encode_json, parse_json
from panoptic.io.reading import read_file, require_file

FORMAT = "panoptic-segformer/3"
RENAMED = {
    FORMAT: {},
    "panoptic-segformer/2": {},
    "panoptic-segformer/1": {"query_initialisation": "query_initialization", "centre": "center"},
}
"""Settings of the network and their values that have other names in a file's format, for every format that is read."""
_OWN_DIGEST = re.compile(rb',\n "sha256": "([0-9a-f]{64})"(?=\n\}\n\Z)')
_FIELDS = ("format", "model", "categories", "input", "merging", "provenance", "weights_sha256", "sha256")
HEADER = "panoptic"
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


def metadata_path(weights: Path) -> Path:
    """Return the path of the JSON file that belongs to a weight file."""
    return weights.with_suffix(".json")


def save_description(path: Path, description: Description, digest: str = "") -> None:
    """Write the JSON file beside the weights at `path`, whose SHA-256 is `digest`, completely or not at all."""
    write_atomically(metadata_path(path), encode_description(description, digest))


def encode_description(description: Description, digest: str) -> bytes:
    """Format the JSON file of weights whose SHA-256 is `digest`; its last line is the SHA-256 of the rest."""
    metadata = usage_of(description) | {"provenance": description.provenance}
    content = encode_json(metadata | ({"weights_sha256": digest} if digest else {}))
    own = f',\n "sha256": "{hashlib.sha256(content).hexdigest()}"'.encode()
    return content.removesuffix(b"\n}\n") + own + b"\n}\n"


def usage_of(description: Description) -> dict[str, object]:
    """Describe everything that using the weights needs; of the settings of inference, those that decide the result."""
    usage: dict[str, object] = {
        "format": FORMAT,
        "model": asdict(description.config),
        "categories": description.categories.to_json(),
    }
    if (settings := description.inference) is None:
        return usage
    sizes = {name: getattr(settings, name) for name in _INPUT}
    return usage | {"input": sizes | _NORMALIZATION, "merging": asdict(settings.merging)}


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
    """Read the description in the header of a weight file; None if there is no file or no description."""
    try:
        with safe_open(require_file(path), framework="pt") as file:
            content = (file.metadata() or {}).get(HEADER)
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
