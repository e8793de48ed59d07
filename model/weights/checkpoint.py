"""This project's weight files: a safetensors file with the weights, and a JSON file that describes them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from panoptic.format.categories import CategoryTable
from panoptic.io.files import Replacement, write_atomically, write_together
from panoptic.io.json_fields import encode_json, read_json
from panoptic.io.reading import require_file

FORMAT = "panoptic-segformer/2"
RENAMED = {FORMAT: {}, "panoptic-segformer/1": {"query_initialisation": "query_initialization", "centre": "center"}}
"""Settings of the network and their values that have other names in a file's format, for every format that is read."""


class CheckpointError(ValueError):
    """A weight file, or the JSON file beside it, cannot be used."""


@dataclass(frozen=True)
class Description:
    """Content of the JSON file beside a weight file: the network, its classes, and the origin of its weights."""

    config: NetworkConfig
    categories: CategoryTable
    provenance: dict[str, str]


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
    files.write(path, save(state))
    files.write(metadata_path(path), _encoded(checkpoint))


def save_description(path: Path, description: Description) -> None:
    """Write the JSON file beside the weights at `path`, completely or not at all."""
    write_atomically(metadata_path(path), _encoded(description))


def _encoded(description: Description) -> bytes:
    metadata = {
        "format": FORMAT,
        "model": asdict(description.config),
        "categories": description.categories.to_json(),
        "provenance": description.provenance,
    }
    return encode_json(metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a file that this or an earlier version's `save_checkpoint` wrote.

    Returns:
        The network in eval mode on the CPU, and its description.

    Raises:
        CheckpointError: a file is damaged, of another format, or does not fit the other file.
    """
    description = load_description(path)
    try:
        return build(description, load_file(require_file(path)), path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); train again or copy it again"
        ) from error


def build(description: Description, state: dict[str, Tensor], path: Path) -> Checkpoint:
    """Build the network that a file describes, with the weights that it holds, in eval mode.

    Raises:
        CheckpointError: the weights are those of another network.
    """
    config, categories = description.config, description.categories
    network = PanopticSegFormer(config, len(categories.things), len(categories.stuff)).eval()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the network that {metadata_path(path)} describes: {error}"
        ) from error
    return Checkpoint(config, categories, description.provenance, network)


def load_description(path: Path) -> Description:
    """Read the JSON file beside the weights at `path`.

    Raises:
        CheckpointError: it is of another format, or describes no network.
    """
    metadata = read_json(metadata_path(path))
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
    categories = CategoryTable.from_json(metadata.values.get("categories"), metadata.where)
    provenance = {name: str(value) for name, value in metadata.child("provenance").values.items()}
    return Description(config, categories, provenance)
