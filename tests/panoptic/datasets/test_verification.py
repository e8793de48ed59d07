"""Building the index of a split: sound splits are indexed as drawn, and every issue is found and named."""

import json
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.datasets.coco import build_index
from panoptic.format.id_map import encode_id_map
from panoptic.format.segments import measure_segments
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import TinyImage, TinySplit, random_images, write_split


@pytest.fixture
def images() -> list[TinyImage]:
    return random_images(seed=3, count=4)


@pytest.fixture
def split(tmp_path: Path, images: list[TinyImage]) -> TinySplit:
    return write_split(tmp_path, "val", images)


def _build(split: TinySplit) -> PanopticIndex:
    return build_index(split.panoptic_json, split.masks, split.images)


def test_the_index_lists_every_image_as_drawn(split: TinySplit, images: list[TinyImage]) -> None:
    index = _build(split)
    assert [record.image_id for record in index.records] == [image.image_id for image in images]
    for record, image in zip(index.records, images, strict=True):
        assert (record.height, record.width) == image.ids.shape
        extents = measure_segments(image.ids)
        for segment, label in zip(record.segments, image.segments, strict=True):
            assert (segment.id, segment.category_id, segment.is_crowd) == (label.id, label.category_id, label.is_crowd)
            assert (segment.area, segment.box_xywh) == (extents[label.id].area, extents[label.id].box_xywh)


def test_saving_and_loading_gives_the_same_index_and_the_same_bytes(split: TinySplit, tmp_path: Path) -> None:
    index = _build(split)
    index.save(tmp_path / "a.json")
    assert PanopticIndex.load(tmp_path / "a.json") == index
    _build(split).save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_zip_files_give_the_same_records(split: TinySplit) -> None:
    masks = Path(shutil.make_archive(str(split.masks), "zip", split.masks))
    images = Path(shutil.make_archive(str(split.images), "zip", split.images.parent, split.images.name))
    assert build_index(split.panoptic_json, masks, images).records == _build(split).records


def _edited(change: Callable[[dict[str, list[dict[str, object]]]], object]) -> Callable[[TinySplit], object]:
    def edit(split: TinySplit) -> None:
        document = json.loads(split.panoptic_json.read_text())
        change(document)
        split.panoptic_json.write_text(json.dumps(document))

    return edit


def _first_segments(document: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    segments = document["annotations"][0]["segments_info"]
    assert isinstance(segments, list)
    return segments


def _first(folder: Path) -> Path:
    return folder / "000100.png"


def _draw_unlisted(split: TinySplit) -> None:
    ids = random_images(seed=3, count=4)[0].ids
    ids[0, 0] = 77
    _first(split.masks).write_bytes(encode_id_map(ids))


def _resize_mask(split: TinySplit) -> None:
    ids = random_images(seed=3, count=4)[0].ids
    _first(split.masks).write_bytes(encode_id_map(np.pad(ids, ((0, 1), (0, 0)))))


def _resize_image(split: TinySplit) -> None:
    cv2.imwrite(str(_first(split.images)), np.zeros((5, 6, 3), np.uint8))


def _truncate(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def _claim_enormous(file: Path) -> None:
    """The header of a PNG says 60 000 x 60 000 pixels, with the check sum that belongs to it."""
    data = file.read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    file.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])


ISSUES: dict[str, tuple[Callable[[TinySplit], object], str]] = {
    "truncated PNG": (lambda split: _truncate(_first(split.masks)), r"panoptic_val: 000100\.png: the PNG is cut short"),
    "missing PNG": (lambda split: _first(split.masks).unlink(), r"panoptic_val/000100\.png: the file is missing"),
    "missing image": (lambda split: _first(split.images).unlink(), r"val/000100\.png: the file is missing.*id 100"),
    "unreadable image": (
        lambda split: _first(split.images).write_bytes(b"?"),
        r"val: 000100\.png: the image cannot be decoded",
    ),
    "enormous image": (lambda split: _claim_enormous(_first(split.images)), r"val: 000100\.png: the image claims more"),
    "enormous PNG": (lambda split: _claim_enormous(_first(split.masks)), r"000100\.png: the size is 60000 x 60000"),
    "truncated image": (lambda split: _truncate(_first(split.images)), r"val: 000100\.png: .*cut short or damaged"),
    "other image size": (_resize_image, r"val: 000100\.png: the size is 5 x 6"),
    "other PNG size": (_resize_mask, r"panoptic_val: 000100\.png: the size is 21 x 28"),
    "drawn, not listed": (_draw_unlisted, r"000100\.png: id 77 is drawn but not listed"),
    "listed, not drawn": (
        _edited(lambda document: _first_segments(document).append({"id": 5, "category_id": 3})),
        r"000100\.png: id 5 is listed in 'segments_info' but not drawn",
    ),
    "listed twice": (
        _edited(lambda document: _first_segments(document).append(_first_segments(document)[0])),
        r"panoptic_val\.json.*listed twice",
    ),
    "id 0": (
        _edited(lambda document: _first_segments(document).append({"id": 0, "category_id": 3})),
        r"segment id 0 cannot be drawn",
    ),
    "unknown category": (
        _edited(lambda document: _first_segments(document)[0].update(category_id=999)),
        r"panoptic_val\.json: annotations\[0\]: segments_info\[0\]: .* unknown category 999",
    ),
    "name that leaves": (
        _edited(lambda document: document["annotations"][0].update(file_name="../../x.png")),
        r"'\.\./\.\./x\.png' leaves the folder",
    ),
    "image's name that leaves": (
        _edited(lambda document: document["images"][0].update(file_name="../annotations/panoptic_val/000100.png")),
        r"panoptic_val/000100\.png' leaves the folder; .* \(id 100\)",
    ),
    "name that no file can have": (
        _edited(lambda document: document["images"][0].update(file_name="\ud800.png")),
        r"val: no file has the name '\\ud800\.png'",
    ),
    "name below a file": (
        _edited(lambda document: document["annotations"][0].update(file_name="000101.png/x.png")),
        r"panoptic_val: no file has the name '000101\.png/x\.png'",
    ),
    "image listed twice": (
        _edited(lambda document: document["images"].append(document["images"][0])),
        r"image id 100 is listed twice",
    ),
    "annotated twice": (
        _edited(lambda document: document["annotations"].append(document["annotations"][0])),
        r"image id 100 is annotated twice",
    ),
    "one PNG for two": (
        _edited(lambda document: document["annotations"][1].update(file_name="000100.png")),
        r"the PNG '000100\.png' belongs to image ids 100 and 101",
    ),
    "no annotation": (_edited(lambda document: document["annotations"].pop()), r"image id 103 .* has no annotation"),
    "no image entry": (_edited(lambda document: document["images"].pop()), r"image id 103: not in 'images'"),
    "empty": (
        _edited(lambda document: document.update(images=[], annotations=[])),
        r"panoptic_val\.json: there are no annotations",
    ),
    "missing field": (
        _edited(lambda document: document["images"][2].__delitem__("height")),
        r"panoptic_val\.json: images\[2\]: the field 'height' is missing",
    ),
    "not JSON": (lambda split: split.panoptic_json.write_text('{"images": ['), r"panoptic_val\.json: not valid JSON"),
    "no JSON": (lambda split: split.panoptic_json.unlink(), r"panoptic_val\.json: there is no such file"),
}


@pytest.mark.parametrize("issue", ISSUES)
def test_an_issue_is_found_and_named(split: TinySplit, issue: str) -> None:
    spoil, message = ISSUES[issue]
    spoil(split)
    with pytest.raises(DatasetError, match=message):
        _build(split)


def test_all_issues_are_reported_together(split: TinySplit) -> None:
    _truncate(_first(split.masks))
    (split.images / "000101.png").unlink()
    (split.masks / "000102.png").unlink()
    with pytest.raises(DatasetError, match="3 issues") as caught:
        _build(split)
    assert all(name in str(caught.value) for name in ("000100.png", "000101.png", "000102.png"))


def test_both_issues_of_an_image_are_reported(split: TinySplit) -> None:
    _truncate(_first(split.masks))
    _truncate(_first(split.images))
    with pytest.raises(DatasetError, match=r"val: 000100\.png: .*\n.*panoptic_val: 000100\.png: the PNG is cut short"):
        _build(split)


def test_an_enormous_claim_is_refused_before_memory_is_allocated(split: TinySplit) -> None:
    """A hundred megabytes of pixels, in 100 kB of a PNG that is sound but for its size."""
    name = _first(split.masks)
    side = 6_000
    rows = zlib.compress(bytes(side * (3 * side + 1)), 9)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    name.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"panoptic_val: 000100\.png: the size is 6000 x 6000"):
            _build(split)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def test_a_replaced_archive_is_read_again(split: TinySplit) -> None:
    masks = Path(shutil.make_archive(str(split.masks), "zip", split.masks))
    shutil.rmtree(split.masks)
    before = build_index(split.panoptic_json, masks, split.images).records
    with zipfile.ZipFile(masks) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(masks, "w") as archive:
        archive.writestr("before.txt", bytes(1000))
        for name, data in content.items():
            archive.writestr(name, data)
    assert build_index(split.panoptic_json, masks, split.images).records == before


def test_a_long_list_of_issues_is_cut_and_counted(tmp_path: Path) -> None:
    split = write_split(tmp_path, "val", random_images(seed=4, count=25))
    shutil.rmtree(split.images)
    split.images.mkdir()
    with pytest.raises(DatasetError, match=r"25 issues(.|\n)*and 5 more"):
        _build(split)


def test_another_file_is_not_accepted_as_an_index(split: TinySplit) -> None:
    with pytest.raises(DatasetError, match="not a panoptic index"):
        PanopticIndex.load(split.panoptic_json)
