import pickle
import shutil
import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import deflate
import numpy as np
import pytest
from PIL import Image

from panoptic.data.decoding import decode_image
from panoptic.data.image_header import ImageHeader, read_header
from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.tools.unlabeled import index_unlabeled
from tests.tiny_dataset import CATEGORIES, TinyImage, TinySplit, random_images, write_split


@pytest.fixture
def written() -> list[TinyImage]:
    return random_images(seed=5, count=3)


@pytest.fixture
def split(tmp_path: Path, written: list[TinyImage]) -> TinySplit:
    return write_split(tmp_path, "val", written)


@pytest.mark.parametrize("zipped", [False, True])
def test_samples_equal_the_written_files(split: TinySplit, written: list[TinyImage], zipped: bool) -> None:
    masks, images = split.masks, split.images
    if zipped:
        masks, images = (Path(shutil.make_archive(str(path), "zip", path)) for path in (masks, images))
    reader = PanopticReader(build_index(split.panoptic_json, masks, images))
    reader.index.save(split.masks.parent / "val.index")
    saved = PanopticReader(PanopticIndex.load(split.masks.parent / "val.index"))
    for copy in (reader, pickle.loads(pickle.dumps(reader)), saved, pickle.loads(pickle.dumps(saved))):
        for record, image in zip(reader.index.records, written, strict=True):
            sample = copy.sample(record)
            assert np.array_equal(sample.image, image.image)
            assert np.array_equal(sample.ids, image.ids)
            assert (sample.image.dtype, sample.ids.dtype) == (np.uint8, np.int32)


def test_files_that_changed_since_the_index_are_noticed(split: TinySplit) -> None:
    reader = PanopticReader(build_index(split.panoptic_json, split.masks, split.images))
    first, second, third = reader.index.records
    cv2.imwrite(str(split.images / first.file_name), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"000100\.png: found 5 x 6"):
        reader.image(first)
    (split.masks / second.mask_name).unlink()
    with pytest.raises(DatasetError, match=r"000101\.png.*missing"):
        reader.sample(second)
    shutil.copy(split.masks / first.mask_name, split.masks / third.mask_name)
    with pytest.raises(DatasetError, match=r"000102\.png: found"):
        reader.id_map(third)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_truncated_image_is_an_error_not_a_gray_area(kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    data = cv2.imencode(kind, image)[1].tobytes()
    assert decode_image(data, "1").shape == (40, 50, 3)
    for part in (data[: len(data) // 2], data[:20], b""):
        with pytest.raises(DatasetError, match=rf"images/1{kind}: .*cut short"):
            decode_image(part, f"images/1{kind}")


def _claiming(height: int, width: int) -> bytes:
    """A PNG, sound but for its header, that claims to be enormous."""
    data = bytearray(encode_id_map(np.zeros((8, 8), np.int32)))
    struct.pack_into(">II", data, 16, width, height)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("size", [(20_000, 20_000), (1 << 31, 1 << 31), (0, 8)])
def test_an_image_that_claims_to_be_enormous_is_refused_by_its_header(split: TinySplit, size: tuple[int, int]) -> None:
    reader = PanopticReader(build_index(split.panoptic_json, split.masks, split.images))
    record = reader.index.records[1]
    for folder in (split.images, split.masks):
        (folder / record.file_name).write_bytes(_claiming(*size))
    tracemalloc.start()
    for read in (reader.image, reader.id_map):
        with pytest.raises(DatasetError, match=r"000101\.png: (found|the image)"):
            read(record)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20  # of which Pillow's own modules are a part
    tracemalloc.stop()


def test_a_real_bomb_is_never_decoded(split: TinySplit, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PanopticReader(build_index(split.panoptic_json, split.masks, split.images))
    record = reader.index.records[0]
    bomb = encode_id_map(np.zeros((4000, 4000), np.int32))
    for module, name in ((cv2, "imdecode"), (deflate, "zlib_decompress")):
        monkeypatch.setattr(module, name, None)
    for folder, read in ((split.images, reader.image), (split.masks, reader.id_map)):
        (folder / record.file_name).write_bytes(bomb)
        with pytest.raises(DatasetError, match=r"000100\.png: found 4000 x 4000, expected"):
            read(record)


def test_the_claimed_size_is_that_of_the_pixels() -> None:
    image = np.zeros((31, 47, 3), np.uint8)
    for kind in (".png", ".jpg", ".bmp", ".webp", ".tiff"):
        header = read_header(BytesIO(cv2.imencode(kind, image)[1].tobytes()), kind)
        assert header == ImageHeader(31, 47)
    for data in (b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
        with pytest.raises(DatasetError, match="images/1: the image cannot be decoded"):
            read_header(BytesIO(data), "images/1")


@pytest.mark.parametrize(
    ("name", "mode", "shown"),
    [
        *(("a.png", "RGB", True), ("a.JPG", "RGB", True), ("a.gif", "P", True), ("a.webp", "RGB", True)),
        *(("a.jp2", "RGB", False), ("a.ppm", "RGB", False), ("a.tga", "RGB", False), ("a.tif", "RGB", False)),
        *(("a.png", "RGBA", False), ("a.webp", "RGBA", False), ("a.png", "I;16", False)),
    ],
)
def test_what_a_browser_shows_otherwise_is_known(tmp_path: Path, name: str, mode: str, shown: bool) -> None:
    (tmp_path / "new").mkdir()
    Image.new(mode, (8, 6)).save(tmp_path / "new" / name)
    table = CategoryTable.from_json(CATEGORIES)
    index = index_unlabeled(tmp_path / "new", None, table, tmp_path / "new.index")
    assert PanopticReader(index).shown_as_read(index.records[0]) == shown
