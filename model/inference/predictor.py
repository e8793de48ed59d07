"""From images to panoptic maps: resize, network, merging.

Images that share a forward pass have equal size at the network's input and no padding: the network's norms and mask
decoders see padded pixels, so in a padded batch a prediction would depend on the other images.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.device import keep_freed_memory, uses_bfloat16
from model.inference.bit_masks import Size
from model.inference.post_processing import FoundMasks, ImageSizes, PanopticPrediction, find_masks
from model.inference.settings import InferenceSettings, require_mask_layer
from model.network.outputs import PanopticOutput
from model.network.segmenter import Segmenter
from model.pixels import normalize
from panoptic.data.transforms import resize_for_inference


@dataclass(frozen=True)
class NetworkInput:
    """An image at the size at which the network sees it."""

    pixels: npt.NDArray[np.uint8]  # (h, w, 3) RGB
    original: Size
    name: str

    @property
    def size(self) -> Size:
        """(height, width) for the network."""
        return self.pixels.shape[0], self.pixels.shape[1]


class Runtime(Protocol):
    """Runs a network: torch, another runtime for an exported one, or transformers."""

    settings: InferenceSettings

    def prepare(self, image: npt.NDArray[np.uint8], name: str) -> NetworkInput:
        """Resize an image."""

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict images that have one size for the network."""


class Predictor:
    """Predicts images with a network, on its device.

    Raises:
        ValueError: the settings ask for what the network or this machine has not.
    """

    def __init__(self, network: Segmenter, settings: InferenceSettings) -> None:
        require_mask_layer(settings, network.config)
        keep_freed_memory()
        self.settings = settings
        self._device = next(network.parameters()).device
        self._forward = inference_forward(network, settings)

    def prepare(self, image: npt.NDArray[np.uint8], name: str) -> NetworkInput:
        """Resize an image (H, W, 3) uint8 RGB; `name` stands for it in errors. Threads may do this ahead."""
        resized = resize_for_inference(image, self.settings.shorter, self.settings.longer)
        return NetworkInput(resized, (image.shape[0], image.shape[1]), name)

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict the panoptic maps of images that have one size for the network, at their original sizes.

        Raises:
            ValueError: the network's output is not finite; names the first image.
        """
        return tuple(found.merge(self.settings.merging) for found in self.find(inputs))

    @torch.no_grad()
    def find(self, inputs: Sequence[NetworkInput]) -> Iterator[FoundMasks]:
        """Find the masks of images as `predict` does, and leave merging to the caller."""
        images = torch.from_numpy(np.stack([image.pixels for image in inputs])).to(self._device, non_blocking=True)
        sizes = [ImageSizes(image.size, image.size, image.original) for image in inputs]
        output = self._forward(normalize(images))
        _require_finite(output, [image.name for image in inputs])
        return (find_masks(output, index, size) for index, size in enumerate(sizes))


def _require_finite(output: PanopticOutput, names: Sequence[str]) -> None:
    """Check what a batch's network computed, by sums, which NaN and infinities make NaN or infinite."""
    by_decoder = output.location.class_logits if output.query_class_logits is None else output.query_class_logits
    parts = {
        "class logits": by_decoder,
        "class probabilities": output.selection.scores[None] if by_decoder is None else None,
        "masks": output.query_masks.masks,
        "stuff logits": output.stuff_logits,
        "stuff masks": output.stuff.masks if output.stuff else None,
    }
    last = {name: part[-1].flatten(1) for name, part in parts.items() if part is not None}
    sound = torch.stack([part.sum(1).isfinite() for part in last.values()])
    if sound.all():
        return
    for index, name in enumerate(names):  # a sum may exceed all numbers without one that does
        bad = [which for which, part in last.items() if not part[index].isfinite().all()]
        if bad:
            raise ValueError(
                f"the image {name}: the {' and '.join(bad)} of the network are NaN or infinite; set "
                "predict.precision to float32, or use weights of a training that did not diverge"
            )


def inference_forward(network: Segmenter, settings: InferenceSettings) -> Callable[[Tensor], PanopticOutput]:
    """Return the network's forward pass in evaluation mode, for images (B, 3, H, W) without padding on its device.

    Raises:
        ValueError: it should be compiled, but there is no compiler.
    """
    device = next(network.parameters()).device
    reduced = uses_bfloat16(settings.precision, device)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    if settings.compile:
        require_compiler(device)
    run = torch.compile(network.segment, dynamic=False) if settings.compile else network.segment
    network.eval()

    def forward(images: Tensor) -> PanopticOutput:
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            output: PanopticOutput = run(images.contiguous(memory_format=layout), settings.mask_layer)
        return output

    return forward


def require_compiler(device: torch.device) -> None:
    """Check that torch can compile for the device.

    Raises:
        ValueError: it cannot, because something is not installed.
    """
    if device.type == "cuda":
        found, needed = importlib.util.find_spec("triton") is not None, "the package triton"
    else:
        names = os.environ.get("CXX", ""), "g++", "clang++"
        found, needed = any(shutil.which(name) for name in names), "g++"
    if not found:
        raise ValueError(
            f"predict.compile is true, but {needed}, with which torch compiles for {device.type}, is not found; "
            "install it, or set predict.compile to false"
        )
