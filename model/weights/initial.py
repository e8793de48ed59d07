"""What a training starts from: random weights, a backbone's from ImageNet, or those of a whole trained network."""

from dataclasses import asdict
from pathlib import Path

from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import CheckpointError, load_checkpoint, metadata_path
from model.weights.pretrained import PretrainedError, find_imagenet, load_backbone
from panoptic.format.categories import CategoryTable

RANDOM, IMAGENET = "random", "imagenet"


def find_initial_weights(source: str, backbone: str, folder: Path) -> Path | None:
    """The file that `train.initial_weights` means, None for random weights.

    Args:
        source: "random", "imagenet", or the path of a file.
        backbone: name, as in `NetworkConfig.backbone`.
        folder: where ImageNet weights may lie; otherwise the Hugging Face hub is asked.

    Raises:
        PretrainedError: no such file, or no ImageNet weights to be had: says what to fetch, and where to put it.
    """
    if source == RANDOM:
        return None
    if source == IMAGENET:
        return find_imagenet(backbone, folder)
    if not Path(source).is_file():
        raise PretrainedError(
            f"train.initial_weights is {source!r}, and there is no such file; give a file, {IMAGENET!r} or {RANDOM!r}"
        )
    return Path(source)


def load_initial_weights(network: PanopticSegFormer, categories: CategoryTable, file: Path) -> str:
    """Give the network, or its backbone alone where the file holds no more, the weights of a file.

    Returns what was loaded, in words.

    A file with a JSON beside it, as `stages.train` and `model.weights.official` write them, is a whole network.

    Raises:
        CheckpointError: a network of other sizes or categories.
        PretrainedError: a file that cannot be read, or that is not for this backbone.
    """
    if not metadata_path(file).is_file():
        loaded = load_backbone(network.backbone, file)
        exceptions = {"not in the file, left as they start": loaded.kept, "not used": loaded.dropped}
        details = [f"; {what}: {', '.join(entries)}" for what, entries in exceptions.items() if entries]
        return f"{network.backbone.name} from {file}{''.join(details)}"
    found = load_checkpoint(file)
    difference = found.categories.describe_difference(categories)
    if difference:
        raise CheckpointError(
            f"{file} knows other categories than the images to train on: {difference}; start from a backbone, or "
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
