"""Which files are images, and what is said about the others."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from panoptic.data.decoding import decode_image
from panoptic.data.image_header import read_header
from panoptic.datasets.layout import IMAGE_SUFFIXES, describe_left_out, is_image
from panoptic.io.errors import DatasetError

IMAGE = Image.fromarray(np.full((16, 20, 3), 90, np.uint8))
# Pillow writes DIBs without the header that files of Windows have; it reads Sun's format, but does not write it.
OTHERWISE_WRITTEN = {".dib": ".bmp", ".ras": ".ras", ".sr": ".ras", ".jif": ".jpg"}


def _is_decoded(data: bytes) -> bool:
    try:
        return read_header(BytesIO(data), "").size(upright=False) == decode_image(data, "").shape[:2]
    except DatasetError:
        return False


def _encoded(image_format: str) -> list[bytes]:
    """The image in every mode that the format can hold."""
    encoded = []
    for mode in ("RGB", "L", "1", "F"):
        try:
            IMAGE.convert(mode).save(buffer := BytesIO(), image_format)
        except (OSError, ValueError):
            continue
        encoded.append(buffer.getvalue())
    return encoded


def _suffixes() -> dict[str, str]:
    Image.init()
    return {suffix: name for suffix, name in Image.registered_extensions().items() if name in Image.SAVE}


@pytest.mark.parametrize("suffix", sorted(_suffixes().keys() - OTHERWISE_WRITTEN.keys()))
def test_exactly_what_can_be_decoded_is_an_image(suffix: str) -> None:
    assert is_image(f"A{suffix.upper()}") == any(map(_is_decoded, _encoded(_suffixes()[suffix])))


@pytest.mark.parametrize("suffix", sorted(set(IMAGE_SUFFIXES) - (_suffixes().keys() - OTHERWISE_WRITTEN.keys())))
def test_so_is_what_pillow_does_not_write(suffix: str) -> None:
    done, data = cv2.imencode(OTHERWISE_WRITTEN[suffix], np.asarray(IMAGE))
    assert done
    assert _is_decoded(data.tobytes())


def test_files_that_are_no_images_are_counted_by_suffix() -> None:
    names = ["a.HEIC", "b.heic", "x/c.mp4", "d.png", ".gitkeep"]
    assert list(describe_left_out(names)) == [
        "4 files left out: 2 .heic (convert to JPEG or PNG), 1 .mp4, 1 without a suffix"
    ]
    assert list(describe_left_out(["d.png"])) == []
    (many,) = describe_left_out([f"a.{number}" for number in range(9)])
    assert many.endswith("1 .5 and 3 more")
