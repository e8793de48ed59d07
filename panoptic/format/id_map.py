"""Id maps and their PNG form as COCO defines it: the id of a segment is R + 256 G + 65536 B; id 0 is void.

OpenCV is imported where it is used, which saves 26 MB in processes that only evaluate.
"""

import numpy as np
from numpy.typing import NDArray

from panoptic.io.errors import DatasetError, naming_memory
from panoptic.io.png import read_png

try:
    from panoptic.io import _png
except ImportError:  # installed where there was no C++ compiler
    COMPILED = False
else:
    COMPILED = True

VOID = 0
MAX_ID = (1 << 24) - 1

# The memory of a freed map goes back to the system, and new pages for the next map take as long as decoding it. glibc
# keeps blocks up to the size of the largest that was ever freed (mallopt(3), M_MMAP_THRESHOLD), so free a large one
# here, of which no page was touched.
np.empty(1 << 24, np.uint8)


def rgb_to_ids(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Convert (H,W,3) colors to (H,W) ids."""
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    ids: NDArray[np.int32] = red | green << 8 | blue << 16
    return ids


def ids_to_rgb(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Convert (H,W) ids to (H,W,3) colors. Raises `ValueError` for an id outside 0..16777215."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= MAX_ID:
        raise ValueError(f"ids must be in 0..{MAX_ID} to fit a color, found {ids.min()}..{ids.max()}")
    rgba = np.ascontiguousarray(ids, dtype="<i4").view(np.uint8).reshape(*ids.shape, 4)
    return np.ascontiguousarray(rgba[..., :3])


def encode_id_map(ids: NDArray[np.int32], compact: bool = False) -> bytes:
    """Encode (H,W) ids as an 8-bit RGB PNG; `compact` halves its size and takes ten times as long."""
    import cv2

    smallest = (cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)
    done, data = cv2.imencode(".png", cv2.cvtColor(ids_to_rgb(ids), cv2.COLOR_RGB2BGR), smallest if compact else ())
    assert done
    return data.tobytes()


def decode_id_map(data: bytes, where: str) -> NDArray[np.int32]:
    """Decode the bytes of a PNG to (H,W) ids; `where` names the file in errors.

    Decodes by panoptic/io/_png.cpp, or, four times slower, by OpenCV if that is not built or the image is interlaced.
    Raises `DatasetError` for anything but an undamaged 8-bit RGB PNG; alpha is ignored.
    """
    with naming_memory(where):
        rows = read_png(data, where)
        if COMPILED and not rows.interlaced:
            return _png.unfilter(rows.data, rows.height, rows.width)
        return _decode_by_opencv(data, where)


def _decode_by_opencv(data: bytes, where: str) -> NDArray[np.int32]:
    """Decode the bytes of a PNG that `read_png` has accepted to (H,W) ids."""
    import cv2

    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise DatasetError(f"{where}: the PNG cannot be decoded; write the file again")
    # Four bytes a pixel are one little-endian number; its highest byte, the opaque alpha, is masked out.
    rgba = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGBA), dtype=np.uint8)
    ids: NDArray[np.int32] = rgba.view("<i4").reshape(rgba.shape[:2])
    return np.bitwise_and(ids, MAX_ID, out=ids)
