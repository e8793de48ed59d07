import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.errors import DatasetError
from panoptic.reader import PanopticReader, decode_image
from panoptic.verification import build_index
from tests.tiny_dataset import TinyPicture, TinySplit, random_pictures, write_split


@pytest.fixture
def pictures() -> list[TinyPicture]:
    return random_pictures(seed=5, count=3)


@pytest.fixture
def split(tmp_path: Path, pictures: list[TinyPicture]) -> TinySplit:
    return write_split(tmp_path, "val", pictures)


@pytest.mark.parametrize("zipped", [False, True])
def test_samples_are_what_was_written(split: TinySplit, pictures: list[TinyPicture], zipped: bool) -> None:
    masks, images = split.masks, split.images
    if zipped:
        masks, images = (Path(shutil.make_archive(str(path), "zip", path)) for path in (masks, images))
    reader = PanopticReader(build_index(split.panoptic_json, masks, images))
    for copy in (reader, pickle.loads(pickle.dumps(reader))):
        for record, picture in zip(reader.index.records, pictures, strict=True):
            sample = copy.sample(record)
            assert np.array_equal(sample.image, picture.image)
            assert np.array_equal(sample.ids, picture.ids)
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
def test_a_truncated_image_is_an_error_not_a_grey_area(kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    data = cv2.imencode(kind, image)[1].tobytes()
    assert decode_image(data, "1").shape == (40, 50, 3)
    for part in (data[: len(data) // 2], data[:20], b""):
        with pytest.raises(DatasetError, match=rf"images/1{kind}: .*cut short"):
            decode_image(part, f"images/1{kind}")
