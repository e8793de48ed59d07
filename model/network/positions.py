"""The image's area in a padded batch, and sine encodings of pixel positions."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.outputs import Shapes

TEMPERATURE = 10_000
OFFSET = -0.5
EPS = 1e-6


def padding_mask(image_sizes: tuple[tuple[int, int], ...], height: int, width: int, device: torch.device) -> Tensor:
    """Mark padding: (B, height, width) bool, True outside the (height, width) of each image.

    Raises:
        ValueError: an image is empty or larger than the batch.
    """
    for position, (valid_height, valid_width) in enumerate(image_sizes):
        if not (0 < valid_height <= height and 0 < valid_width <= width):
            raise ValueError(
                f"image {position} of the batch is {valid_height} x {valid_width}; "
                f"expected at least 1 x 1 and at most the batch's {height} x {width}"
            )
    sizes = torch.tensor(image_sizes).to(device, non_blocking=True)
    rows = torch.arange(height, device=device) >= sizes[:, :1]
    columns = torch.arange(width, device=device) >= sizes[:, 1:]
    return rows[:, :, None] | columns[:, None, :]


def any_padding(image_sizes: tuple[tuple[int, int], ...] | None, batch_size: tuple[int, int]) -> bool:
    """Tell whether an image is smaller than the batch; None instead of image sizes means no padding."""
    return image_sizes is not None and any(size != batch_size for size in image_sizes)


def level_masks(
    levels: Sequence[Tensor], image_sizes: tuple[tuple[int, int], ...] | None, batch_size: tuple[int, int]
) -> list[Tensor]:
    """Make the padding mask (B, h, w) of each level (B, C, h, w); (1, h, w) where all images have one size.

    None instead of image sizes means no padding, which symbolic sizes cannot tell.
    """
    shapes = [(level.shape[-2], level.shape[-1]) for level in levels]
    device = levels[0].device
    if image_sizes is None:
        return [torch.zeros(1, *shape, dtype=torch.bool, device=device) for shape in shapes]
    one_size = all(size == image_sizes[0] for size in image_sizes)
    full = padding_mask(image_sizes[:1] if one_size else image_sizes, *batch_size, device=device)
    return [resize_mask(full, shape) for shape in shapes]


def resize_mask(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize (B, H, W) bool to (B, *shape) by nearest neighbor."""
    return F.interpolate(mask[:, None].float(), size=shape).bool()[:, 0]


def sine_position(mask: Tensor, channels: int) -> Tensor:
    """Encode the pixels of a padding mask (B, h, w): (B, h, w, channels), first half y, second half x.

    The order of operations and float32 are part of the definition: rows and columns of pure padding get arguments
    around -3e6, whose sine changes completely with the last bit of the frequency.
    """
    valid = (~mask).int()
    index = torch.arange(channels // 2, dtype=torch.float32, device=mask.device)
    frequency = TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / (channels // 2))
    encoded = []
    for axis in (1, 2):
        count = valid.cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, -1, 1)
        angle = ((count + OFFSET) / (last + EPS) * (2 * math.pi))[..., None] / frequency
        encoded.append(torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2))
    return torch.cat(encoded, dim=-1)


def valid_ratio(mask: Tensor) -> Tensor:
    """Fraction (B, 2) of (width, height) that is image, from a padding mask (B, h, w)."""
    _, height, width = mask.shape
    columns = (~mask[:, 0, :]).sum(1).float() / width
    rows = (~mask[:, :, 0]).sum(1).float() / height
    return torch.stack((columns, rows), dim=-1)


def pixel_centers(spatial_shapes: Shapes, valid_ratios: Tensor) -> Tensor:
    """Every pixel's center as reference point on every level: (B, S, L, 2) xy, 0..1 of padded levels."""
    centers = []
    for level, (height, width) in enumerate(spatial_shapes):
        y = (torch.arange(height, device=valid_ratios.device) + 0.5) / (valid_ratios[:, level, 1:] * height)
        x = (torch.arange(width, device=valid_ratios.device) + 0.5) / (valid_ratios[:, level, :1] * width)
        grid = torch.stack((x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)), dim=-1)
        centers.append(grid.flatten(1, 2))
    return torch.cat(centers, dim=1)[:, :, None] * valid_ratios[:, None]


def sine_encoding(values: Tensor, features: int) -> Tensor:
    """Encode numbers (...) in 0..1 as (..., features), half sines, half cosines."""
    index = torch.arange(features // 2, dtype=torch.float32, device=values.device)
    angle = values[..., None] * (2 * math.pi) / TEMPERATURE ** (2 * index / features)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)
