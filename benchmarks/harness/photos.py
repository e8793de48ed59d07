"""Photographs for benchmarks: as the files that programs get, and prepared for the bare network."""

from dataclasses import dataclass, replace
from pathlib import Path

from model.device import pick_device
from model.inference.predictor import NetworkInput, Predictor
from model.weights.checkpoint import load_checkpoint
from panoptic.data.decoding import decode_upright
from panoptic.datasets.layout import is_image
from panoptic.io.files import open_files


@dataclass(frozen=True)
class Photo:
    """An image file, and the same image decoded and resized."""

    data: bytes
    prepared: NetworkInput


def load_photos(images: Path, weights: Path, batch_size: int = 1) -> tuple[list[Photo], Predictor]:
    """Read a folder or zip file of images, and the network that they are for.

    Raises:
        ValueError: the weights are without sizes, or there are no images.
    """
    checkpoint = load_checkpoint(weights)
    if checkpoint.inference is None:
        raise ValueError(f"{weights}: an earlier version wrote these weights, without sizes; train again")
    settings = replace(checkpoint.inference, batch_size=batch_size)
    predictor = Predictor(checkpoint.network.to(pick_device()), settings)
    files = open_files(images)
    data = {name: files.read(name) for name in files.names() if is_image(name)}
    if not data:
        raise ValueError(f"{images}: there are no images; give a folder with some")
    photos = [Photo(one, predictor.prepare(decode_upright(one, name), name)) for name, one in data.items()]
    return photos, predictor
