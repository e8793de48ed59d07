"""Tables of the weights that there are: published ones, and those on this machine."""

from collections.abc import Iterator
from pathlib import Path

from model.complexity.counts import meta_network
from model.published.models import PUBLISHED
from model.weights.description import load_description
from model.weights.official.released import RELEASED
from panoptic.markdown import markdown_page, markdown_table
from panoptic_segformer.weights.names import WEIGHTS
from panoptic_segformer.weights.published import PRETRAINED, cache_folder, local_file


def describe_weights() -> str:
    """Return a table of the published checkpoints and one of the weights found here."""
    published = [
        [name, f"{PUBLISHED[row.model].parameters}", f"{row.pq}", str(local_file(name) or "not fetched")]
        for name, row in RELEASED.items()
    ]
    local = list(_local_rows())
    return markdown_page(
        "Published by the authors (PQ of the paper, COCO val2017):",
        markdown_table(["name", "M parameters", "PQ", "here"], published),
        "On this machine:" if local else "No other weights are in runs/, pretrained/ or the caches.",
        markdown_table(["weights", "family", "backbone", "M parameters", "things", "stuff"], local, 3) if local else "",
    ).rstrip()


def _local_rows() -> Iterator[list[str]]:
    for path, name in _local_weights():
        try:
            description = load_description(path)
            things, stuff = len(description.categories.things), len(description.categories.stuff)
            network = meta_network(description.config, things, stuff)
        except ValueError:  # weights of another program
            continue
        parameters = f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f}"
        yield [name, description.config.family, network.backbone_name, parameters, str(things), str(stuff)]


def _local_weights() -> Iterator[tuple[Path, str]]:
    """Files of weights where this project keeps them, and what `load` finds them by."""
    from huggingface_hub import constants

    for pattern in (f"runs/**/{WEIGHTS}", f"{PRETRAINED}/**/*.safetensors"):
        for path in sorted(Path().glob(pattern)):
            yield path, str(path)
    for path in sorted(cache_folder().glob("*.safetensors")):
        yield path, path.stem
    for path in sorted(Path(constants.HF_HUB_CACHE).glob(f"models--*/snapshots/*/{WEIGHTS}")):
        repository = "/".join(path.parents[2].name.split("--")[1:])
        yield path, f"hf://{repository}@{path.parent.name}"
