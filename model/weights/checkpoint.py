"""Our own weight files: a safetensors file with the weights, and a JSON file that says how they were made."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from panoptic.format.categories import CategoryTable
from panoptic.io.files import write_atomically
from panoptic.io.json_fields import read_json

FORMAT = "panoptic-segformer/1"


class CheckpointError(ValueError):
    """A weight file, or the JSON beside it, that cannot be used."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network with what is needed to use it and to tell where it comes from."""

    network: PanopticSegFormer
    config: NetworkConfig
    categories: CategoryTable
    provenance: dict[str, str]


def metadata_path(weights: Path) -> Path:
    """The JSON file that belongs to a weight file."""
    return weights.with_suffix(".json")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `path` and the JSON beside it, each complete or not at all."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "model": asdict(checkpoint.config),
        "categories": checkpoint.categories.to_json(),
        "provenance": checkpoint.provenance,
    }
    write_atomically(path, save(state))
    write_atomically(metadata_path(path), (json.dumps(metadata, indent=1) + "\n").encode())


def load_checkpoint(path: Path) -> Checkpoint:
    """Load what `save_checkpoint` wrote; the network comes in eval mode on the CPU."""
    metadata = read_json(metadata_path(path))
    if metadata.values.get("format") != FORMAT:
        raise CheckpointError(
            f"{metadata.where} is not of format {FORMAT!r}; use the file that this version of stages.train wrote"
        )
    try:
        config = NetworkConfig(**cast(dict[str, Any], metadata.child("model").values))
    except TypeError as error:
        raise CheckpointError(f"{metadata.where} does not describe a network: {error}") from error
    categories = CategoryTable.from_json(metadata.values.get("categories"), metadata.where)
    provenance = {name: str(value) for name, value in metadata.child("provenance").values.items()}
    network = PanopticSegFormer(config, len(categories.things), len(categories.stuff)).eval()
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); train again or copy it again"
        ) from error
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the network that {metadata_path(path)} describes: {error}"
        ) from error
    return Checkpoint(network, config, categories, provenance)
