"""Indices of images without annotations."""

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.data.reader import PanopticReader
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.tools.unlabeled import index_unlabeled, main
from tests.tiny_dataset import CATEGORIES

TABLE = CategoryTable.from_json(CATEGORIES)
SIZES = {"b.jpg": (8, 12), "a.png": (9, 7), "deep/c.jpg": (5, 6)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "test"
    for name, (height, width) in SIZES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    (folder / "README.txt").write_text("no image")
    return folder


def _zipped(folder: Path) -> Path:
    path = folder.with_name("zips") / "test.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"test/{file.relative_to(folder).as_posix()}")
    return path


def _list(tmp_path: Path, *entries: tuple[int, str, int, int]) -> Path:
    path = tmp_path / "image_info.json"
    keys = ("id", "file_name", "height", "width")
    # COCO's list also has categories, without `isthing`, which are not used.
    document = {"images": [dict(zip(keys, entry, strict=True)) for entry in entries], "categories": [{"id": 1}]}
    path.write_text(json.dumps(document))
    return path


def test_without_a_list_all_images_are_indexed_by_name(images: Path, tmp_path: Path) -> None:
    index = index_unlabeled(images, None, TABLE, tmp_path / "out" / "index.json")
    found = [(record.image_id, record.file_name, record.mask_name) for record in index.records]
    assert found == [(1, "a.png", "a.png"), (2, "b.jpg", "b.png"), (3, "deep/c.jpg", "deep/c.png")]
    assert {record.file_name: (record.height, record.width) for record in index.records} == SIZES
    assert all(record.segments == () for record in index.records)
    assert PanopticIndex.load(tmp_path / "out" / "index.json") == index


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_selects_images_and_ids(images: Path, tmp_path: Path, packed: bool) -> None:
    listed = _list(tmp_path, (70, "b.jpg", 8, 12), (5, "a.png", 9, 7))
    index = index_unlabeled(_zipped(images) if packed else images, listed, TABLE, tmp_path / "index.json")
    assert [(record.image_id, record.file_name) for record in index.records] == [(70, "b.jpg"), (5, "a.png")]


def test_the_reader_gives_void_id_maps(images: Path, tmp_path: Path) -> None:
    reader = PanopticReader(index_unlabeled(images, None, TABLE, tmp_path / "index.json"))
    for record in reader.index.records:
        sample = reader.sample(record)
        assert sample.image.shape == (*SIZES[record.file_name], 3)
        assert sample.ids.shape == SIZES[record.file_name]
        assert not sample.ids.any()


def test_equal_images_give_equal_files(images: Path, tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        index_unlabeled(images, None, TABLE, tmp_path / "index.json")
        written.append([(tmp_path / name).read_bytes() for name in ("index.json", "index_void.zip")])
    assert written[0] == written[1]


def test_issues_of_all_images_are_reported_together(images: Path, tmp_path: Path) -> None:
    (images / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    listed = _list(tmp_path, (1, "gone.jpg", 4, 4), (2, "broken.jpg", 4, 4), (3, "b.jpg", 12, 8), (4, "a.png", 9, 7))
    with pytest.raises(DatasetError) as error:
        index_unlabeled(images, listed, TABLE, tmp_path / "index.json")
    message = str(error.value)
    assert "3 issues" in message
    assert "gone.jpg: the file is missing" in message
    assert "broken.jpg: the image cannot be decoded" in message
    assert "b.jpg: the size is 8 x 12 (height x width), but the list says 12 x 8" in message
    assert not list(tmp_path.glob("index*"))


def test_images_with_the_same_result_name_are_refused(images: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(images / "a.jpg"), np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"'a.jpg' would both be 'a.png'; rename one"):
        index_unlabeled(images, None, TABLE, tmp_path / "index.json")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "'images' is empty"),
        ([(1, "a.png", 9, 7), (1, "b.jpg", 8, 12)], "image id 1 is listed twice"),
        ([(1, "a.png", 9, 7), (2, "a.png", 9, 7)], "image ids 1 and 2 share 'a.png'"),
        ([(1, "a.png", 0, 7)], r"the size is 0 x 7 \(height x width\); correct it"),
    ],
)
def test_an_invalid_list_is_refused(
    images: Path, tmp_path: Path, entries: list[tuple[int, str, int, int]], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        index_unlabeled(images, _list(tmp_path, *entries), TABLE, tmp_path / "index.json")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="there are no images"):
        index_unlabeled(tmp_path / "empty", None, TABLE, tmp_path / "index.json")


def test_the_command_writes_an_index(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    categories = tmp_path / "categories.json"
    categories.write_text(json.dumps({"categories": CATEGORIES}))
    out = tmp_path / "index.json"
    main(["--images", str(images), "--categories", str(categories), "--out", str(out)])
    assert "3 images" in capsys.readouterr().out
    assert PanopticIndex.load(out).categories == TABLE
    with pytest.raises(SystemExit) as end:
        main(["--images", str(tmp_path / "none"), "--categories", str(categories), "--out", str(out)])
    assert end.value.code == 2
