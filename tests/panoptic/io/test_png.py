import zlib

import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.png import MAX_PIXELS, StoredRows, read_png
from tests.panoptic.io.made_pngs import SIGNATURE, chunk, header, png

# 2 x 3 pixels: two rows of a filter's number and nine bytes.
ROWS = bytes(range(1, 11)) + bytes(range(2, 12))
STREAM = zlib.compress(ROWS)
HEAD = header(2, 3)
PIXELS = chunk(b"IDAT", STREAM)
END = chunk(b"IEND")
GOOD = SIGNATURE + HEAD + PIXELS + END


def test_the_rows_come_out_as_they_were_stored() -> None:
    assert read_png(GOOD, "1.png") == StoredRows(height=2, width=3, interlaced=False, data=ROWS)


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"IDAT") + b"".join(chunk(b"IDAT", bytes([byte])) for byte in STREAM),
        chunk(b"tEXt", b"Author\0me") + chunk(b"PLTE", bytes(3)) + PIXELS,
        PIXELS + chunk(b"tIME", bytes(7)),
        chunk(b"IDAT", STREAM + b"unused"),
        PIXELS + END + b"what other programs leave behind the end",
    ],
    ids=["pixels in small chunks", "chunks before", "chunks after", "a rest behind the stream", "behind the end"],
)
def test_chunks_that_change_no_pixel_are_ignored(chunks: bytes) -> None:
    assert read_png(SIGNATURE + HEAD + chunks + END, "1.png").data == ROWS


def test_alpha_is_left_out() -> None:
    rows = bytes([1, 10, 11, 12, 99, 20, 21, 22, 98]), bytes([2, 30, 31, 32, 97, 40, 41, 42, 96])
    found = read_png(png(header(2, 2, color=6), zlib.compress(b"".join(rows))), "1.png")
    assert found == StoredRows(2, 2, False, bytes([1, 10, 11, 12, 20, 21, 22, 2, 30, 31, 32, 40, 41, 42]))


def test_every_truncation_is_an_error_that_names_the_file() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(DatasetError, match=r"^masks/1\.png: (not a PNG file|the PNG is cut short)"):
            read_png(GOOD[:length], "masks/1.png")


def test_every_damaged_bit_is_noticed() -> None:
    for place in range(8 * len(GOOD)):
        data = bytearray(GOOD)
        data[place // 8] ^= 1 << place % 8
        with pytest.raises(DatasetError, match=r"^1\.png: (not a PNG file|the PNG is (cut short|damaged))"):
            read_png(bytes(data), "1.png")


# With right checksums: what no reader of images would mind, or what makes it guess.
@pytest.mark.parametrize(
    ("chunks", "found"),
    [
        (HEAD, "no pixels"),
        (PIXELS + HEAD, "header is not at its beginning"),
        (HEAD + HEAD + PIXELS, "not alone"),
        (chunk(b"IHDR", bytes(12)) + PIXELS, "12 bytes instead of 13"),
        (HEAD + PIXELS[:-12] + PIXELS, "damaged"),
        (HEAD + chunk(b"IDAT", STREAM[:5]) + chunk(b"tIME", bytes(7)) + chunk(b"IDAT", STREAM[5:]), "between them"),
        (HEAD + chunk(b"NEWS") + PIXELS, "knows b'NEWS'"),
        (HEAD + chunk(b"IDAT", b""), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", zlib.compress(ROWS[:-1])), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", zlib.compress(ROWS + b"\0")), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", zlib.compress(bytes(1 << 24))), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", STREAM[:-1]), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", STREAM[:-1] + b"\0"), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", b"neither zlib nor anything"), "are not 20 sound bytes"),
        (HEAD + chunk(b"IDAT", zlib.compress(b"\5" + ROWS[1:])), "unknown row filter 5"),
        (HEAD + chunk(b"IDAT", zlib.compress(ROWS[:10] + b"\xff" + ROWS[11:])), "unknown row filter 255"),
        (header(2, 3, methods=(0, 0, 1)) + PIXELS, "are not 22 sound bytes"),  # an interlaced one has more rows
        (header(2, 3, methods=(0, 0, 2)) + PIXELS, "unknown methods 0, 0, 2"),
        (header(2, 3, methods=(1, 0, 0)) + PIXELS, "unknown methods 1, 0, 0"),
        (header(0, 3) + PIXELS, "claims 0 x 3 pixels"),
        (header(1 << 20, 1 << 20) + PIXELS, f"claims 1048576 x 1048576 pixels; 1 to {MAX_PIXELS}"),
        (header(2, 3, color=3) + PIXELS, "8-bit palette"),
        (header(2, 3, color=0) + PIXELS, "8-bit gray"),
        (header(2, 3, color=4) + PIXELS, "8-bit gray with alpha"),
        (header(2, 3, color=6) + PIXELS, "are not 26 sound bytes"),
        (header(2, 3, color=6, bits=16) + PIXELS, "16-bit RGB with alpha"),
        (header(2, 3, color=7) + PIXELS, "8-bit of an unknown type"),
        (header(2, 3, bits=16) + PIXELS, "16-bit RGB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sound_file_that_is_not_an_id_map_is_refused(chunks: bytes, found: str) -> None:
    with pytest.raises(DatasetError, match=rf"^1\.png: .*{found}"):
        read_png(SIGNATURE + chunks + END, "1.png")


def test_an_unknown_filter_in_a_later_pass_is_refused() -> None:
    rows = bytearray(b"".join(b"\0" + bytes(3 * columns) for columns in (1, 1, 1, 3)))  # the passes of 2 x 3 pixels
    assert read_png(png(header(2, 3, methods=(0, 0, 1)), zlib.compress(rows)), "1.png").interlaced
    rows[-10] = 7
    with pytest.raises(DatasetError, match=r"^1\.png: .*unknown row filter 7"):
        read_png(png(header(2, 3, methods=(0, 0, 1)), zlib.compress(rows)), "1.png")
