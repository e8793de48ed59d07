"""Masks like a trained network's: random weights find nothing that a merging could work on."""

import torch
from torch import Tensor

from model.inference.post_processing import FoundMasks, ImageSizes

_SURE_THINGS, _SURE_STUFF = 20, 6
_SURE, _UNSURE = 0.9, 0.02  # probabilities of the classes
_STUFF_IS_LARGER = 0.15  # by this part of the image in each direction
_SHARPNESS = 80.0


def draw_found(count: int, mask_size: tuple[int, int], sizes: ImageSizes, classes: tuple[int, int]) -> FoundMasks:
    """Draw the masks of an image, on the CPU: some that become segments, and improbable ones of the same shapes.

    Args:
        count: number of masks, at least 26.
        mask_size: (height, width) of each, as the network gives them.
        sizes: of the image.
        classes: numbers of thing and stuff classes.
    """
    sure = _SURE_THINGS + _SURE_STUFF
    assert count >= sure
    things, stuff = classes
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(_SURE_THINGS) % things, things + torch.arange(_SURE_STUFF) % stuff])
    others = torch.randint(things, (count - sure,), generator=generator)
    cells = _cells(mask_size, generator)
    copies = cells[torch.randint(sure, (count - sure,), generator=generator)]
    probabilities = torch.full((count,), _UNSURE)
    probabilities[:sure] = _SURE - 0.3 * torch.rand(sure, generator=generator)
    boxes = torch.full((count, 4), 0.5)
    return FoundMasks(
        torch.cat([cells, copies]), torch.cat([labels, others]), probabilities, boxes, None, count, things, sizes
    )


def _cells(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Divide the image among random centers, things before stuff; masks (26, h, w) fall from 1 to 0 at the borders."""
    centers = torch.rand(_SURE_THINGS + _SURE_STUFF, 2, 1, 1, generator=generator)
    rows, columns = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])
    distances = ((rows - centers[:, 0]) ** 2 + (columns - centers[:, 1]) ** 2).sqrt()
    distances[_SURE_THINGS:] -= _STUFF_IS_LARGER
    nearest, second = distances.topk(2, dim=0, largest=False).values
    nearest_other = torch.where(distances == nearest, second, nearest)
    return (_SHARPNESS * (nearest_other - distances)).sigmoid()
