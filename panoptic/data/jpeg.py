"""The end of a JPEG, and whether its decoder gets all pixels before it.

A JPEG ends with a mark, but the mark decides nothing: phones append a video to a photo, and some cameras leave the
mark out, while a program that was interrupted may have set it too early. What decides is whether the decoder still
needs data where the file has no more.
"""

import re
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from panoptic.data.image_header import open_image

BEGIN, END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
# In the data of a scan, 0xFF is followed by 0, by a restart mark, or by the mark of the next segment.
_NEXT_SEGMENT = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
# The same without leading 0xFF, which is searched for 15 times as fast.
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Where pixels are missing, the decoder turns these bits into other ones than those it makes up itself.
_FILLER = bytes((37 * number + 90) % 255 for number in range(510))
_BLOCK = 8  # pixels; a block whose data are missing is of one color
_PADDING = 16  # bytes; a few zeros may be pixels
_SMOOTH = 4  # pixels at its end that the interpolation of colors between blocks does not reach


def whole_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG up to its end mark, which is added if it is all that is missing; None if pixels are missing."""
    found = _find_end(data)
    if found is None:
        return None
    end, _ = found
    if end is None and _depends_on_more(_body(data, end)):
        return None
    return _body(data, end) + END


def lacks_pixels(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a JPEG that was decoded to `pixels` (H,W,C) is cut short, so that the decoder made up a part of it.

    It is decoded again only if the mark is missing, the image is progressive, or its last block is of one color.
    """
    found = _find_end(data)
    if found is None:
        return True
    end, progressive = found
    height, width = pixels.shape[:2]
    corner = pixels[(height - 1) // _BLOCK * _BLOCK :, (width - 1) // _BLOCK * _BLOCK :][-_SMOOTH:, -_SMOOTH:]
    suspicious = end is None or progressive or bool((corner == corner[-1, -1]).all())
    return suspicious and _depends_on_more(_body(data, end))


def _depends_on_more(body: bytes) -> bool:
    """Tell whether pixels depend on what follows the data, so that they are not in them."""
    filled = body + (b"\0" if body.endswith(b"\xff") else b"") + _FILLER
    return not np.array_equal(_decode(body + END), _decode(filled + END))


def _find_end(data: bytes) -> tuple[int | None, bool] | None:
    """Find the end mark (None if it is missing), and whether the image is progressive; None if it has no scan."""
    position, progressive, scanned = len(BEGIN), False, False
    while mark := _NEXT_SEGMENT.match(data, position):
        code, position = data[mark.end() - 1], mark.end()
        if code == END[1]:
            return (mark.end() - len(END), progressive) if scanned else None
        progressive |= code in _PROGRESSIVE
        position += int.from_bytes(data[position : position + 2])
        if code == _SCAN:
            scanned = True
            following = _AFTER_SCAN.search(data, position)
            position = following.start() if following else len(data)
    return (None, progressive) if scanned else None


def _body(data: bytes, end: int | None) -> bytes:
    """The data up to the end; without an end mark, many zeros are taken for padding, except the one after 0xFF."""
    if end is not None:
        return data[:end]
    body = data.rstrip(b"\0")
    if len(data) - len(body) < _PADDING:
        return data
    return body + b"\0" if body.endswith(b"\xff") else body


def _decode(data: bytes) -> NDArray[np.uint8]:
    """Decode with Pillow, which prints nothing about what is wrong; empty if it gives up."""
    try:
        with open_image(BytesIO(data)) as image:
            return np.asarray(image, np.uint8)
    except (OSError, SyntaxError):
        return np.empty(0, np.uint8)
