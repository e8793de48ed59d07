"""One reader for every image file: its type, its bits, and whether all of its pixels are there."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from resource import RUSAGE_SELF, getrusage

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from panoptic.data.decoding import convert_upright, decode_image, decode_upright, verify_image
from panoptic.data.image_header import ImageHeader, UnsupportedImageError, read_header
from panoptic.io.errors import DatasetError

END = b"\xff\xd9"
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
# JPEG encoders: sequential, with restart marks, progressive.
JPEGS: dict[str, dict[str, object]] = {
    "sequential": {},
    "restarts": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
}


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _noise(height: int = 90, width: int = 130) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(3).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height)), np.uint8)


def _jpeg(**options: object) -> bytes:
    return _encoded(Image.fromarray(_noise()), "JPEG", **options)


def _verdicts(data: bytes) -> list[str]:
    """What the two ways of reading an image say, empty for a sound one."""
    found = []
    for read in (decode_image, verify_image):
        try:
            read(data, "a.jpg")
            found.append("")
        except DatasetError as error:
            found.append(str(error))
    return found


CUT = "a.jpg: the image cannot be decoded (cut short or damaged); replace the file"


@pytest.mark.parametrize("encoder", JPEGS)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + VIDEO,
        lambda data: data + bytes(5000),
        lambda data: data.removesuffix(END),
        lambda data: data[:-1],
        lambda data: data.removesuffix(END) + bytes(5000),
        lambda data: data.removesuffix(END) + b"\0\0\1\nImage_UTC_DataSEFHk\0\0\0SEFT",
    ],
    ids=[
        "motion photo",
        "zeros behind",
        "no end mark",
        "half an end mark",
        "zeros for the end mark",
        "text for the end mark",
    ],
)
def test_a_jpeg_with_all_pixels_is_sound_whatever_its_end(encoder: str, change: Callable[[bytes], bytes]) -> None:
    data = _jpeg(**JPEGS[encoder])
    changed = change(data)
    assert changed != data
    assert np.array_equal(decode_image(changed, "a.jpg"), decode_image(data, "a.jpg"))
    assert verify_image(changed, "a.jpg") == 8


@pytest.mark.parametrize("encoder", JPEGS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_jpeg_that_lacks_pixels_is_damaged_whatever_its_end(encoder: str, part: float) -> None:
    data = _jpeg(**JPEGS[encoder])
    cut = data[: 620 + round(part * (len(data) - 620))]  # somewhere behind the header
    for damaged in (cut, cut + bytes(5000), cut + bytes(len(data) - len(cut))):
        assert _verdicts(damaged) == [CUT, CUT]
    # An end mark that was set too early is found where images come in.
    assert _verdicts(cut + END)[1] == CUT
    assert _verdicts(cut + END + VIDEO)[1] == CUT


def test_a_jpeg_of_one_color_is_sound() -> None:
    data = _encoded(Image.new("RGB", (70, 50), (128, 128, 128)), "JPEG")
    for sound in (data, data.removesuffix(END), data + VIDEO):
        assert _verdicts(sound) == ["", ""]


def test_the_thumbnail_in_a_jpeg_does_not_end_it() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = _encoded(Image.new("RGB", (8, 8)), "JPEG")  # as makers' notes have one
    data = _encoded(Image.fromarray(_noise()), "JPEG", exif=exif)
    assert data.count(END) == 2
    assert _verdicts(data) == ["", ""]
    assert _verdicts(data[: len(data) // 2]) == [CUT, CUT]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize(("bits", "highest"), [(8, 255), (10, 256), (10, 1023), (12, 1024), (14, 9000), (16, 65535)])
def test_samples_of_16_bits_are_divided_by_the_bits_that_the_image_needs(kind: str, bits: int, highest: int) -> None:
    samples = np.random.default_rng(1).integers(0, highest, (6, 9), np.uint16)
    samples[2, 3] = highest
    data = _encoded(Image.fromarray(samples), kind)
    image = decode_image(data, "a.png")
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.repeat((samples // 2 ** (bits - 8))[..., None], 3, axis=2))
    assert verify_image(data, "a.png") == bits
    assert read_header(BytesIO(data), "a.png").bits == 16


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_colors_of_16_bits_keep_their_order(kind: str) -> None:
    samples = np.random.default_rng(1).integers(0, 4096, (6, 9, 3), np.uint16)
    samples[0, 0] = 4095
    data = cv2.imencode(kind, samples)[1].tobytes()
    assert np.array_equal(decode_image(data, "a"), samples[..., ::-1] // 16)


def test_a_tiff_in_which_zero_is_white_is_inverted() -> None:
    data = bytearray(_encoded(Image.fromarray(np.array([[0, 4095, 16]], np.uint16)), "TIFF"))
    tag = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00")  # photometric interpretation, one short
    assert data[tag + 8] == 1
    data[tag + 8] = 0
    assert decode_image(bytes(data), "a.tif")[..., 0].tolist() == [[255, 0, 254]]


def test_integers_of_32_bits_are_read_if_16_hold_them() -> None:
    samples = np.array([[0, 4095], [16, 31]], np.int32)
    data = _encoded(Image.fromarray(samples), "TIFF")
    assert decode_image(data, "a.tif")[..., 1].tolist() == [[0, 255], [1, 1]]
    for wrong in (-1, 70_000):
        data = _encoded(Image.fromarray(np.array([[0, wrong]], np.int32)), "TIFF")
        with pytest.raises(UnsupportedImageError, match=r"a\.tif: the image has int32 samples from .*; scale them"):
            verify_image(data, "a.tif")


def test_floating_point_is_named_and_nothing_else_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    data = _encoded(Image.fromarray(np.ones((4, 5), np.float32)), "TIFF")
    with pytest.raises(UnsupportedImageError, match=r"a\.tif: the TIFF has 32-bit floating-point samples, not"):
        read_header(BytesIO(data), "a.tif")
    with pytest.raises(DatasetError):
        decode_image(data, "a.tif")
    assert capfd.readouterr() == ("", "")


def test_a_tiff_that_pillow_does_not_know_is_described() -> None:
    tags = ImageFileDirectory_v2()
    tags.update({256: 5, 257: 4, 258: (64, 64, 64), 259: 1, 262: 2, 277: 3, 339: (3, 3, 3)})
    file = BytesIO()
    file.write(tags.tobytes(8).join([b"II*\0\x08\0\0\0", b""]))
    with pytest.raises(UnsupportedImageError, match="64-bit floating-point samples"):
        read_header(BytesIO(file.getvalue()), "a.tif")


def test_files_that_are_no_images_are_described() -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(40)
    for data, message in (
        (b"", "the file is empty"),
        (heic, "a HEIC photo, whatever its name; convert it to JPEG or PNG"),
        (b"<html>", "is a text, such as a web page or an SVG; fetch or export it again, as JPEG or PNG"),
        (b"version https://git-lfs.github.com/spec/v1", "in Git LFS, and .* points to it; fetch it with: git lfs pull"),
        (b"\xff\n\xfa", "a JPEG XL image; convert it"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage",
            "PostScript, a program that is never",
        ),
        (b"%PDF-1.4\n", "a PDF document; export"),
        (b"words", "cut short, or of another type"),
    ):
        with pytest.raises(DatasetError, match=rf"^a\.jpg: the image .*{message}"):
            read_header(BytesIO(data), "a.jpg")


def _shown(mode: str) -> tuple[bytes, NDArray[np.uint8]]:
    """A PNG, or a JPEG for CMYK, of a mode, and the colors that it shows."""
    image = Image.fromarray(_noise(24, 32)).convert(mode)
    data = _encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    with Image.open(BytesIO(data)) as written:
        return data, np.asarray(written.convert("RGB"), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    data, colors = _shown(mode)
    image = decode_image(data, mode)
    assert image.shape == (24, 32, 3)
    assert np.abs(image.astype(int) - colors).max() <= (1 if mode == "CMYK" else 0)
    assert verify_image(data, mode) == 8
    assert read_header(BytesIO(data), mode) == ImageHeader(
        24, 32, bits=1 if mode == "1" else 8, alpha=mode in ("LA", "RGBA")
    )


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_the_first_of_several_images_in_a_file_is_read(kind: str) -> None:
    first, second = Image.new("RGB", (6, 4), (255, 0, 0)), Image.new("RGB", (6, 4), (0, 0, 255))
    data = _encoded(first, kind, save_all=True, append_images=[second])
    assert read_header(BytesIO(data), kind).frames == 2
    assert np.abs(decode_image(data, kind).astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_as_pillow_does(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encoded(Image.fromarray(_noise(24, 32)), kind, exif=exif)
    header = read_header(BytesIO(data), kind)
    assert header.orientation == (1 if kind == "TIFF" else orientation)
    stored, upright = decode_image(data, kind), decode_upright(data, kind)
    assert stored.shape[:2] == header.size(upright=False)
    assert upright.shape[:2] == header.size(upright=True) == ((32, 24) if orientation >= 5 else (24, 32))
    assert upright.flags.c_contiguous
    with Image.open(BytesIO(data)) as image:
        turned = Image.Transpose
        operations = (
            *(None, turned.FLIP_LEFT_RIGHT, turned.ROTATE_180, turned.FLIP_TOP_BOTTOM),
            *(turned.TRANSPOSE, turned.ROTATE_270, turned.TRANSVERSE, turned.ROTATE_90),
        )
        image.load()  # of a TIFF, this turns it
        operation = None if kind == "TIFF" else operations[orientation - 1]
        expected = np.asarray((image.transpose(operation) if operation is not None else image).convert("RGB"))
    assert np.abs(upright.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("place", ["before", "behind", "text"])
def test_exif_data_anywhere_in_a_png_count(place: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image, written, chunk = Image.fromarray(_noise(24, 32)), exif.tobytes(), b"eXIf" + exif.tobytes()[6:]
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(written):8}\n{written.hex()}\n")  # as by ImageMagick
    data = _encoded(image, "PNG", **({"pnginfo": text} if place == "text" else {}))
    at = {"before": 33, "behind": len(data) - 12, "text": 0}[place]
    if at:
        data = data[:at] + (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + data[at:]
    assert read_header(BytesIO(data), "a.png").orientation == 6
    assert np.array_equal(decode_upright(data, "a.png"), np.rot90(_noise(24, 32), -1))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP", "TGA"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_colors_do_not_depend_on_opacity(kind: str, mode: str) -> None:
    image = Image.fromarray(_noise()).convert(mode[:-1])
    alpha = Image.fromarray(np.linspace(0, 255, _noise()[..., 0].size).reshape(_noise().shape[:2]).astype(np.uint8))
    transparent = Image.merge(mode, [*image.split(), alpha])
    data = _encoded(transparent, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode_image(data, "a"), np.asarray(image.convert("RGB")))


def test_a_transparent_color_of_a_gif_is_kept() -> None:
    image = Image.fromarray(_noise()).quantize(16)
    data = _encoded(image, "GIF", transparency=3)
    assert np.array_equal(decode_image(data, "a.gif"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["TGA", "PCX", "SGI", "ICO", "DDS", "QOI"])
def test_types_that_only_pillow_reads_are_read(kind: str) -> None:
    pixels = _noise()
    options = {"sizes": [pixels.shape[1::-1]]} if kind == "ICO" else {}
    assert np.array_equal(decode_image(_encoded(Image.fromarray(pixels), kind, **options), "a"), pixels)


def test_a_tiff_whose_decoders_would_mix_up_its_planes_is_refused() -> None:
    planes = np.arange(3 * 4 * 6, dtype="<u2") * 50
    tags = ImageFileDirectory_v2()
    tags.update({256: 6, 257: 4, 258: (16, 16, 16), 259: 1, 262: 2, 273: (500, 548, 596), 277: 3, 278: 4})
    tags.update({279: (48, 48, 48), 284: 2})
    file = BytesIO(b"II*\0\10\0\0\0")
    file.seek(8)
    tags.save(file)
    data = file.getvalue().ljust(500, b"\0") + planes.tobytes()
    with pytest.raises(UnsupportedImageError, match="16-bit samples, each channel in a plane of its own; save it with"):
        read_header(BytesIO(data), "a.tif")


def test_a_color_space_with_an_axis_a_has_no_alpha() -> None:
    data = _encoded(Image.new("LAB", (6, 4), (200, 128, 128)), "TIFF")
    assert not read_header(BytesIO(data), "a.tif").alpha


def _avif(offset: int) -> bytes:
    data = bytearray(_encoded(Image.fromarray(_noise()), "AVIF"))
    data[-offset] ^= 255
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"P5 6 4 4\xc70 " + bytes(100),
        b"P5 6 4 65535\xa2b" + bytes(100),
        _encoded(Image.fromarray(_noise()), "AVIF").replace(b"iloc", b"ilox"),
        *(_avif(offset) for offset in range(900, 1400, 100)),
        b"P5 60000 60000 255\n" + bytes(100),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\x7f\xff\xff\xff" * 2 + b"\x10\2\0\0\0" + bytes(50) + b"IEND\xaeB`\x82",
    ],
)
def test_damage_that_libraries_report_in_other_ways_is_described(data: bytes) -> None:
    for read in (decode_image, verify_image, decode_upright, lambda data, where: read_header(BytesIO(data), where)):
        with suppress(DatasetError):  # any other error fails the test
            read(data, "a")


def test_a_chunk_that_claims_more_than_the_file_is_refused_before_memory_is_taken() -> None:
    data = _encoded(Image.fromarray(_noise(12, 17)), "PNG")
    idat = data.index(b"IDAT") - 4
    claimed = data[:idat] + b"\x80" + data[idat + 1 :]  # 2 GB more
    before = getrusage(RUSAGE_SELF).ru_maxrss
    with pytest.raises(DatasetError, match="cut short or damaged"):
        decode_image(claimed, "a.png")
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB


FILES_OF_MODES = {
    **dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "PNG"),
    **dict.fromkeys(("I", "YCbCr", "RGBX"), "TIFF"),
}


def _of_mode(mode: str) -> Image.Image:
    if mode[0] in "IF":
        return Image.fromarray(np.arange(600, dtype={"I": "<i4", "I;16": "<u2", "F": "<f4"}[mode]).reshape(20, 30))
    image = Image.fromarray(_noise(20, 30))
    if mode == "P":
        image = image.quantize(16)
        image.info["transparency"] = 3
        return image
    if mode in ("RGBa", "La"):
        return image.convert({"RGBa": "RGBA", "La": "LA"}[mode]).convert(mode)
    return image.convert(mode)


@pytest.mark.parametrize("mode", FILES_OF_MODES)
def test_an_open_image_gives_the_pixels_of_its_file(mode: str) -> None:
    image = _of_mode(mode)
    expected = decode_upright(_encoded(image, FILES_OF_MODES[mode]), "a")
    converted = convert_upright(image, "a")
    np.testing.assert_allclose(converted, expected, atol=2 * (mode == "YCbCr"))
    assert converted.flags.c_contiguous
    assert converted.flags.writeable


@pytest.mark.parametrize("mode", ["CMYK", "HSV", "RGBa", "PA", "La"])
def test_modes_that_no_png_has_are_converted(mode: str) -> None:
    image = _of_mode(mode)
    plain = Image.fromarray(_noise(20, 30)).convert({"La": "L", "PA": "P"}.get(mode, "RGB"))
    np.testing.assert_allclose(convert_upright(image, "a"), np.asarray(plain.convert("RGB"), int), atol=9)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (_of_mode("F"), "the image has float32 samples from 0 to 599; scale them"),
        (Image.fromarray(np.full((2, 2), -1, np.int32)), "the image has int32 samples from -1 to -1"),
        (Image.new("LAB", (4, 4)), "the PIL image of mode LAB cannot be converted"),
        (Image.new("RGB", (0, 4)), "the PIL image of mode RGB cannot be converted [(]it has no pixels[)]"),
        (
            Image.open(BytesIO(_jpeg()[:900])),
            "the PIL image of mode RGB cannot be converted [(]image file is truncated",
        ),
    ],
)
def test_an_open_image_without_such_pixels_is_described(image: Image.Image, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^image 3: {message}"):
        convert_upright(image, "image 3")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_open_photo_is_turned_upright_like_its_file(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encoded(Image.fromarray(_noise()), kind, exif=exif)
    with Image.open(BytesIO(data)) as image:
        np.testing.assert_allclose(convert_upright(image, "a"), decode_upright(data, "a"), atol=4 * (kind == "JPEG"))
