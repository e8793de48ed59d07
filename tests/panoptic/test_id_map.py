import struct
import zlib

import cv2
import numpy as np
import pytest

from panoptic.errors import DatasetError
from panoptic.id_map import MAX_ID, decode_id_map, encode_id_map, ids_to_rgb, rgb_to_ids


def test_colours_and_ids_follow_the_formula() -> None:
    rgb = np.array([[[1, 2, 3], [0, 0, 0], [255, 255, 255]]], np.uint8)
    ids = rgb_to_ids(rgb)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1 + 256 * 2 + 65536 * 3, 0, MAX_ID]]
    assert np.array_equal(ids_to_rgb(ids), rgb)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (13, 1), (17, 23)])
def test_png_round_trip(shape: tuple[int, int]) -> None:
    ids = np.random.default_rng(1).integers(0, MAX_ID + 1, shape).astype(np.int32)
    assert np.array_equal(decode_id_map(encode_id_map(ids), "a.png"), ids)


@pytest.mark.parametrize("wrong", [-1, MAX_ID + 1])
def test_ids_that_fit_no_colour_are_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="16777215"):
        ids_to_rgb(np.array([[0, wrong]], np.int32))


def test_every_truncation_is_an_error_that_names_the_file() -> None:
    data = encode_id_map(np.arange(600, dtype=np.int32).reshape(20, 30) * 7919)
    for length in range(0, len(data), 13):
        with pytest.raises(DatasetError, match=r"masks/1\.png"):
            decode_id_map(data[:length], "masks/1.png")


def test_a_damaged_byte_is_noticed() -> None:
    data = bytearray(encode_id_map(np.arange(600, dtype=np.int32).reshape(20, 30) * 7919))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(DatasetError, match=r"1\.png.*damaged"):
        decode_id_map(bytes(data), "1.png")


def _palette_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"\0\0\1")
    chunks = [(b"IHDR", header), (b"PLTE", bytes(6)), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks)


def _png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16]]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (_palette_png(), "8-bit palette"),
        (_png(np.zeros((2, 3), np.uint8)), "8-bit grey"),
        (_png(np.zeros((2, 3), np.uint16)), "16-bit grey"),
        (_png(np.zeros((2, 3, 3), np.uint16)), "16-bit RGB"),
        (_png(np.zeros((2, 3, 4), np.uint8)), "8-bit RGB with alpha"),
        (cv2.imencode(".jpg", np.zeros((2, 3, 3), np.uint8))[1].tobytes(), "not a PNG"),
    ],
)
def test_other_kinds_of_picture_are_refused_by_name(data: bytes, found: str) -> None:
    with pytest.raises(DatasetError, match=rf"1\.png.*{found}"):
        decode_id_map(data, "1.png")


def test_a_header_that_claims_to_fill_the_memory_is_refused() -> None:
    data = bytearray(encode_id_map(np.zeros((2, 2), np.int32)))
    struct.pack_into(">II", data, 16, 1 << 20, 1 << 20)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    with pytest.raises(DatasetError, match=r"1\.png.*claims"):
        decode_id_map(bytes(data), "1.png")
