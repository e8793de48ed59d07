"""Initial weights of a training: random, a backbone's from ImageNet, or those of a whole trained network."""

from dataclasses import asdict
from pathlib import Path

from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import CheckpointError, load_checkpoint, metadata_path
from model.weights.files import WeightsError
from model.weights.hub import find_imagenet
from model.weights.pretrained import load_backbone
from panoptic.format.categories import CategoryTable

RANDOM, IMAGENET = "random", "imagenet"


def find_initial_weights(source: str, backbone: str, folder: Path) -> Path | None:
    """Find the file that `train.initial_weights` refers to; None for random weights.

    Args:
        source: "random", "imagenet", or the path of a file.
        backbone: name, as in `NetworkConfig.backbone`.
        folder: may contain ImageNet weights; otherwise they are fetched from the Hugging Face hub.

    Raises:
        WeightsError: the file or the ImageNet weights do not exist; says what to fetch, and where to put it.
    """
    if source == RANDOM:
        return None
    if source == IMAGENET:
        return find_imagenet(backbone, folder)
    if not Path(source).is_file():
        raise WeightsError(
            f"train.initial_weights is {source!r}, and there is no such file; give a file, {IMAGENET!r} or {RANDOM!r}"
        )
    return Path(source)


def load_initial_weights(network: PanopticSegFormer, categories: CategoryTable, file: Path) -> str:
    """Load a file into the network, or into its backbone where the file holds no more.

    A file with a JSON beside it, as `stages.train` and `model.weights.official` write them, is a whole network.

    Returns:
        A description of what was loaded.

    Raises:
        CheckpointError: the file's network has other sizes or categories.
        WeightsError: the file cannot be read, or is not for this backbone.
    """
    if not metadata_path(file).is_file():
        loaded = load_backbone(network.backbone, file)
        exceptions = {"not in the file, left at their initial values": loaded.kept, "not used": loaded.dropped}
        details = [f"; {what}: {', '.join(entries)}" for what, entries in exceptions.items() if entries]
        return f"{network.backbone.name} from {file}{''.join(details)}"
    found = load_checkpoint(file)
    difference = found.categories.describe_difference(categories)
    if difference:
        raise CheckpointError(
            f"{file} has other categories than the training images: {difference}; start from a backbone, or "
            "convert published weights with `python -m model.weights.official --categories`"
        )
    try:
        network.load_state_dict(found.network.state_dict())
    except RuntimeError:
        sizes, own = asdict(found.config), asdict(network.config)
        other = ", ".join(f"{name} {own[name]} instead of {sizes[name]}" for name in own if own[name] != sizes[name])
        raise CheckpointError(
            f"{file} is a network of another shape; the model section has {other}: correct it, or name another file"
        ) from None
    return f"the whole network from {file}"
