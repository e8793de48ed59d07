"""Initial weights of a training: random, a backbone's from ImageNet, or those of a whole trained network."""

from pathlib import Path

from model.network.segmenter import Segmenter
from model.weights.checkpoint import Checkpoint, build, load_checkpoint
from model.weights.description import load_description, metadata_path
from model.weights.loading.averages import AVERAGE_MARK
from model.weights.loading.files import WeightsError, is_safetensors, read_weights
from model.weights.loading.hub import find_imagenet, origin
from model.weights.loading.pretrained import load_backbone
from model.weights.loading.transfer import transfer
from panoptic.format.categories import CategoryTable

_HEADS = "location_decoder.", "class_predictor."
"""Parts of the names of entries that every whole network has, and no backbone."""
RANDOM, IMAGENET = "random", "imagenet"


def find_initial_weights(source: str, backbone: str, folder: Path) -> Path | None:
    """Find the file that `train.initial_weights` refers to; None for random weights.

    Args:
        source: "random", "imagenet", or the path of a file, perhaps with `AVERAGE_MARK`.
        backbone: name, as in `NetworkConfig.backbone`.
        folder: may contain ImageNet weights; otherwise they are fetched from the Hugging Face hub.

    Raises:
        WeightsError: the file or the ImageNet weights do not exist; says what to fetch, and where to put it.
    """
    if source == RANDOM:
        return None
    if source == IMAGENET:
        return find_imagenet(backbone, folder)
    file = Path(source.removesuffix(AVERAGE_MARK))
    if not file.is_file():
        raise WeightsError(
            f"train.initial_weights is {source!r}, and there is no such file; give a file, {IMAGENET!r} or {RANDOM!r}"
        )
    return file


def require_backbone(network: Segmenter, what: str) -> None:
    """Check that `what`, which holds the weights of a backbone alone, is of use to the network.

    Raises:
        WeightsError: its family has no backbone.
    """
    if network.backbone is None:
        raise WeightsError(
            f"{what} holds a backbone, and the family {network.config.family!r} has none; set "
            "train.initial_weights to random, or to weights of the same family"
        )


def load_initial_weights(network: Segmenter, categories: CategoryTable, file: Path, average: bool = False) -> str:
    """Load a file into the network, or into its backbone where the file holds no more.

    A whole network is a file with a JSON beside it, as `stages.train` and `model.weights.official` write them. Its
    classes may be others than `categories` (see `model.weights.loading.transfer`).

    Args:
        network: receives the weights.
        categories: its classes.
        file: weights.
        average: take the moving average of the weights (EMA) that the file holds beside them.

    Returns:
        A description of what was loaded, with a line for everything that was not taken as it is.

    Raises:
        CheckpointError: the file's network has other sizes, or classes that cannot be told by their names.
        WeightsError: the file cannot be read, or is not for this backbone.
    """
    checkpoint, remarks = _whole_network(file, average)
    if checkpoint is None:
        require_backbone(network, str(file))
        assert network.backbone is not None
        loaded = load_backbone(network.backbone, file, average)
        exceptions = {
            "taken": (loaded.taken,) if loaded.taken else (),
            "not in the file, left at their initial values": loaded.kept,
            "not used": (*loaded.dropped, *loaded.left_out),
        }
        details = [f"; {what}: {', '.join(entries)}" for what, entries in exceptions.items() if entries]
        return f"{network.backbone.name} from {file}{origin(network.backbone.name, file)}{''.join(details)}"
    transferred = transfer(checkpoint.network.state_dict(), checkpoint, network, categories, str(file))
    network.load_state_dict(transferred.state)
    lines = transferred.lines()
    return "\n  ".join([f"the {'network' if lines else 'whole network'} from {file}", *remarks, *lines])


def _whole_network(file: Path, average: bool) -> tuple[Checkpoint | None, list[str]]:
    """Read a whole network, and a remark on what was taken; None if the file holds no more than a backbone."""
    described = metadata_path(file).is_file()
    if described and not average and is_safetensors(file):
        return load_checkpoint(file), []
    weights = read_weights(file, average)
    if described:
        return build(load_description(file), weights.state, file), [f"taken: {weights.taken}"] if weights.taken else []
    if any(name.startswith("bbox_head.") for name in weights.state):
        raise WeightsError(
            f"{file} is a checkpoint of the published code; convert it, with its classes, and start from the result: "
            f"python -m model.weights.official {file} --model NAME --out {file.with_suffix('.safetensors')}"
        )
    if any(part in name for part in _HEADS for name in weights.state):
        raise WeightsError(
            f"{file} is a whole network without the JSON that names its classes; put it at {metadata_path(file)}: the "
            "one of any weights with the same classes and model section"
        )
    return None, []
