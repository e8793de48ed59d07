"""Images in all the forms that Python programs hold them in, as 8-bit RGB pixels with a name."""

import os
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from panoptic.data.decoding import convert_upright, decode_upright
from panoptic.io.reading import read_file

ImageLike: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic] | Tensor
"""A path, the bytes of an image file, a PIL image, or pixels: see `named_image`."""
_FORMS = "an array (H, W, 3) or (H, W) of uint8, or a tensor (3, H, W) of uint8 or of floats in 0..1"

_DENSE = "give a dense one on a device that computes"


class NamedImage(NamedTuple):
    """An image (H, W, 3) uint8 RGB, upright, and what errors call it."""

    name: str
    pixels: NDArray[np.uint8]


def named_image(image: ImageLike, name: str) -> NamedImage:
    """Decode or convert an image.

    Args:
        image: a path, the bytes of an image file, a PIL image, an array (H, W, 3) RGB or (H, W) gray of uint8, or a
            tensor (3, H, W) of uint8 or of floats in 0..1.
        name: what an image without a file name is called.

    Raises:
        DatasetError: a file is missing, damaged or no image.
        ValueError: pixels have another shape, type or range.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return NamedImage(str(path), decode_upright(read_file(path), str(path)))
    if isinstance(image, bytes):
        return NamedImage(name, decode_upright(image, name))
    if isinstance(image, Image.Image):
        return NamedImage(str(getattr(image, "filename", "")) or name, convert_upright(image, name))
    array = _from_tensor(image, name) if isinstance(image, Tensor) else np.asarray(image)
    return NamedImage(name, _from_array(array, name))


def _from_tensor(tensor: Tensor, name: str) -> NDArray[np.generic]:
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        raise ValueError(f"{name}: a tensor of shape {tuple(tensor.shape)}; expected {_FORMS}")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        raise ValueError(
            f"{name}: a tensor of pixels that are not all there ({tensor.layout}, {tensor.device}); {_DENSE}"
        )
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()  # half precision would round to a neighbor
        low, high = (float(value) for value in tensor.aminmax())
        if not (low >= 0 and high <= 1):  # NaN as well
            raise ValueError(f"{name}: a tensor of floats in {low:.3g}..{high:.3g}; expected {_FORMS}, not normalized")
        tensor = (tensor * 255).round().to(torch.uint8)
    array: NDArray[np.generic] = tensor.permute(1, 2, 0).numpy(force=True)
    return array


def _from_array(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or 0 in array.shape:
        raise ValueError(f"{name}: an array of shape {array.shape} and type {array.dtype}; expected {_FORMS}")
    # Copied, as the caller may fill its array with the next frame.
    return np.array(array if array.ndim == 3 else array[..., None].repeat(3, axis=2), np.uint8, order="C")
