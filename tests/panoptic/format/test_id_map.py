import io
import zlib
from itertools import product

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from panoptic.format import id_map
from panoptic.format.id_map import COMPILED, MAX_ID, decode_id_map, encode_id_map, ids_to_rgb, rgb_to_ids
from panoptic.io.errors import DatasetError
from tests.panoptic.io.made_pngs import header, interlaced_png, png, stored_rows

SHAPES = [(1, 1), (1, 9), (13, 1), (2, 8), (17, 23), (5, 64)]


@pytest.fixture(autouse=True, params=["compiled", "opencv"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with both decoders."""
    if request.param == "compiled" and not COMPILED:
        pytest.skip("the compiled core is not built")
    monkeypatch.setattr(id_map, "COMPILED", request.param == "compiled")


def images(shape: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """(H,W,3) noise, segments with straight and wiggly outlines, and one color."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (*shape, 3), np.uint8)
    patches = noise[np.arange(shape[0])[:, None] // 5, np.arange(shape[1]) // 11]
    wiggly = noise[0, (np.arange(shape[1]) + rng.integers(0, 3, (shape[0], 1))) // 9]
    return [noise, patches, wiggly, np.full((*shape, 3), 255, np.uint8)]


def test_colors_and_ids_follow_the_formula() -> None:
    rgb = np.array([[[1, 2, 3], [0, 0, 0], [255, 255, 255]]], np.uint8)
    ids = rgb_to_ids(rgb)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1 + 256 * 2 + 65536 * 3, 0, MAX_ID]]
    assert np.array_equal(ids_to_rgb(ids), rgb)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("compact", [False, True])
def test_png_round_trip(shape: tuple[int, int], compact: bool) -> None:
    ids = np.random.default_rng(1).integers(0, MAX_ID + 1, shape).astype(np.int32)
    assert np.array_equal(decode_id_map(encode_id_map(ids, compact), "a.png"), ids)


@pytest.mark.parametrize("wrong", [-1, MAX_ID + 1])
def test_ids_that_do_not_fit_a_color_are_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="16777215"):
        ids_to_rgb(np.array([[0, wrong]], np.int32))


def test_every_truncation_is_an_error_that_names_the_file() -> None:
    data = encode_id_map(np.arange(600, dtype=np.int32).reshape(20, 30) * 7919)
    for length in range(len(data)):
        with pytest.raises(DatasetError, match=r"masks/1\.png"):
            decode_id_map(data[:length], "masks/1.png")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (4, 3, 2, 1, 0)])
def test_rows_of_every_filter(shape: tuple[int, int], filters: tuple[int, ...]) -> None:
    for rgb in images(shape):
        data = png(header(*shape), zlib.compress(stored_rows(rgb, filters)))
        assert np.array_equal(decode_id_map(data, "a.png"), rgb_to_ids(rgb))


@pytest.mark.parametrize("shape", SHAPES)
def test_interlaced_images(shape: tuple[int, int]) -> None:
    for rgb in images(shape):
        assert np.array_equal(decode_id_map(interlaced_png(rgb), "a.png"), rgb_to_ids(rgb))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alpha", [255, 0, None])
def test_alpha_changes_no_id(shape: tuple[int, int], alpha: int | None) -> None:
    """Opaque, transparent or any alpha, as panopticapi reads them: it looks at three channels."""
    for rgb in images(shape):
        noise = np.random.default_rng(2).integers(0, 256, (*shape, 1), np.uint8)
        rgba = np.concatenate([rgb, noise if alpha is None else np.full_like(noise, alpha)], axis=2)
        Image.fromarray(rgba).save(written := io.BytesIO(), "png")
        plain = png(header(*shape, color=6), zlib.compress(stored_rows(rgba, (4, 3, 2, 1, 0))))
        for data in (written.getvalue(), plain, interlaced_png(rgba)):
            assert np.array_equal(decode_id_map(data, "a.png"), rgb_to_ids(rgb))


@pytest.mark.parametrize("shape", SHAPES)
def test_pngs_of_opencv_and_pillow_with_all_their_options(shape: tuple[int, int]) -> None:
    for rgb in images(shape):
        files = []
        for level, strategy, filters in product((0, 1, 9), range(5), (8, 16, 32, 64, 128, 248)):  # as libpng names them
            how: tuple[int, ...] = (cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_STRATEGY, strategy)
            how += (cv2.IMWRITE_PNG_FILTER, filters)
            files.append(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), how)[1].tobytes())
        for level in (0, 1, 6, 9):
            Image.fromarray(rgb).save(written := io.BytesIO(), "png", compress_level=level)
            files.append(written.getvalue())
        for data in set(files):
            assert np.array_equal(decode_id_map(data, "a.png"), rgb_to_ids(rgb))


def test_ids_are_writable_and_own_their_memory() -> None:
    ids = decode_id_map(encode_id_map(np.ones((2, 3), np.int32)), "a.png")
    assert ids.dtype == np.int32
    assert ids.flags.c_contiguous
    ids[0, 0] = 5
    assert ids.tolist() == [[5, 1, 1], [1, 1, 1]]


def test_a_damaged_byte_is_noticed() -> None:
    data = bytearray(encode_id_map(np.arange(600, dtype=np.int32).reshape(20, 30) * 7919))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(DatasetError, match=r"1\.png.*damaged"):
        decode_id_map(bytes(data), "1.png")


def _palette_png() -> bytes:
    Image.new("P", (3, 2)).save(written := io.BytesIO(), "png")
    return written.getvalue()


def _png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16]]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (_palette_png(), "1-bit palette"),
        (_png(np.zeros((2, 3), np.uint8)), "8-bit gray"),
        (_png(np.zeros((2, 3), np.uint16)), "16-bit gray"),
        (_png(np.zeros((2, 3, 3), np.uint16)), "16-bit RGB"),
        (_png(np.zeros((2, 3, 4), np.uint16)), "16-bit RGB with alpha"),
        (cv2.imencode(".jpg", np.zeros((2, 3, 3), np.uint8))[1].tobytes(), "not a PNG"),
    ],
)
def test_other_types_of_image_are_refused_by_name(data: bytes, found: str) -> None:
    with pytest.raises(DatasetError, match=rf"1\.png.*{found}"):
        decode_id_map(data, "1.png")
