"""COCO's run-length encoding (RLE) of masks, checked: pycocotools hangs on an RLE whose runs do not fill the image."""

from collections.abc import Sequence
from math import prod
from typing import TypedDict, cast

import numpy as np
from hotcoco.mask import rle_from_string
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject
from panoptic.io.png import MAX_PIXELS

# Numbers of COCO's compressed RLE are characters from `0` on of 5 bits each, which tell whether more follow (+) or not
# (.), up to 35 bits, more than a run in any image; pycocotools reads longer ones wrongly (`rleFrString`, maskApi.c).
_KINDS = bytes(ord("." if 48 <= code < 80 else "+" if 80 <= code < 112 else "!") for code in range(256))
_TOO_LONG = b"+" * 7


class Rle(TypedDict):
    """A mask as pycocotools represents it: `size` is height and width, `counts` the compressed lengths of the runs."""

    size: list[int]
    counts: str | bytes


def read_rle(rle: JsonObject) -> Rle:
    """Read a mask from its `size` and `counts`, a string (compressed) or a list. Raises `DatasetError` for damage."""
    size = rle.integers("size")
    if len(size) != 2 or min(size) < 1 or prod(size) > MAX_PIXELS:
        found = f"found {size}; 1 to {MAX_PIXELS} pixels are read"
        raise DatasetError(f"{rle.where}: 'size' should be height and width, {found}; correct it")
    if isinstance(rle.values.get("counts"), list):
        lengths = rle.integers("counts")
        if not lengths or min(lengths) < 0 or sum(lengths) != prod(size):
            raise _damaged(rle.where, size)
        pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).view(np.uint8)
        return coco_mask.encode(pixels.reshape(size[::-1]).T)
    counts = rle.text("counts")
    if not (_are_numbers(counts) and _fits(counts, prod(size)) and not _fits(counts, prod(size) - 1)):
        raise _damaged(rle.where, size)
    return {"size": size, "counts": counts}


def _damaged(where: str, size: Sequence[int]) -> DatasetError:
    message = f"'counts' is damaged, its runs do not fill {size[0]} x {size[1]} pixels; write the mask again"
    return DatasetError(f"{where}: {message}")


def _are_numbers(counts: str) -> bool:
    kinds = counts.encode(errors="surrogatepass").translate(_KINDS)
    return kinds.endswith(b".") and b"!" not in kinds and _TOO_LONG not in kinds


def _fits(counts: str, pixels: int) -> bool:
    """Tell whether runs, none of them negative, end within so many pixels: hotcoco lets them end early, not late."""
    try:
        rle_from_string(counts, 1, pixels)
    except ValueError:
        return False
    return True


def fill_polygons(polygons: Sequence[Sequence[float]], height: int, width: int, where: str) -> Rle:
    """Fill polygons of at least 3 points, each x, y, x, y, ..., and return their union, cropped to the image.

    Raises `DatasetError` for one that extends beyond the image by more than the image's size, a sign that the points
    belong to another image; pycocotools would take memory for every pixel on the way there.
    """
    for points in polygons:
        for x, y in zip(points[::2], points[1::2], strict=False):
            if not (-width <= x <= 2 * width and -height <= y <= 2 * height):
                message = f"the point ({x:g}, {y:g}) is far outside the image of {width} x {height} (width x height)"
                raise DatasetError(f"{where}: {message}; draw the shape again")
    # Its type stubs declare integers only.
    return coco_mask.merge(coco_mask.frPyObjects(cast("list[list[int]]", polygons), height, width))


def check_size(mask: Rle, height: int, width: int, where: str) -> None:
    """Raise `DatasetError` for a mask of another size, which pycocotools would silently compare."""
    if mask["size"] != [height, width]:
        found = f"{mask['size'][0]} x {mask['size'][1]} (height x width), but the image is {height} x {width}"
        raise DatasetError(f"{where}: the mask is {found}; write it at that size")


def run_starts(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """The positions where the runs of a one-dimensional array start: from 0 on, none in an empty array."""
    changes = np.ones(ids.shape, dtype=bool)
    np.not_equal(ids[1:], ids[:-1], out=changes[1:])
    return np.flatnonzero(changes)
