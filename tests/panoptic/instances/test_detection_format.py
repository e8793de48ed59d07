"""Panoptic PNGs to COCO's detection format, against RLE recorded once and checked by eye."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.segments import SegmentLabel
from panoptic.instances.detection_json import encode_mask, segment_rles, write_json_lists
from tests.detection_document import to_detection_format
from tests.tiny_dataset import TinyImage, random_images, write_split

COCO_SAMPLE = Path(__file__).parents[4] / "shared" / "coco-sample"
IDS = np.array(
    [
        [9, 9, 9, 9, 9],
        [9, 5, 5, 0, 9],
        [4, 5, 5, 0, 4],
        [4, 4, 4, 4, 4],
    ],
    np.int32,
)
SEGMENTS = (SegmentLabel(5, 3, False), SegmentLabel(4, 20, False), SegmentLabel(9, 7, True))


def test_a_small_image_gives_the_recorded_document(tmp_path: Path) -> None:
    images = [TinyImage(image_id, np.zeros((4, 5, 3), np.uint8), IDS, SEGMENTS) for image_id in (8, 6)]
    split = write_split(tmp_path, "val", images)
    data = to_detection_format(build_index(split.panoptic_json, split.masks, split.images))
    document = json.loads(data)
    # Run lengths down the columns are 5 2 2 2 9 for the ball, 2 2 3 1 3 1 3 1 2 2 for the water and
    # 0 2 2 1 3 1 3 1 3 2 2 for the stars; from the fourth on, the RLE has the difference from the last but one.
    expected = [
        {"id": 0, "category_id": 3, "iscrowd": 0, "area": 4, "bbox": [1, 1, 2, 2]},
        {"id": 1, "category_id": 20, "iscrowd": 0, "area": 7, "bbox": [0, 2, 5, 2]},
        {"id": 2, "category_id": 7, "iscrowd": 1, "area": 7, "bbox": [0, 0, 5, 2]},
    ]
    counts = ["52207", "223O0000O1", "022O100001O"]
    for image_id, first, annotations in ((8, 0, document["annotations"][:3]), (6, 3, document["annotations"][3:])):
        for position, annotation in enumerate(annotations):
            segmentation = {"size": [4, 5], "counts": counts[position]}
            identity = {"id": first + position, "image_id": image_id, "segmentation": segmentation}
            assert annotation == expected[position] | identity
    assert [image["id"] for image in document["images"]] == [8, 6]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools with numpy 2
def test_the_public_tool_reads_back_every_mask(tmp_path: Path) -> None:
    split = write_split(tmp_path, "val", random_images(seed=6, count=3))
    index = build_index(split.panoptic_json, split.masks, split.images)
    path = tmp_path / "instances.json"
    path.write_bytes(to_detection_format(index))
    coco, reader = COCO(str(path)), PanopticReader(index)
    for record in index.records:
        ids = reader.id_map(record)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[int(record.image_id)]))
        for annotation, segment in zip(annotations, record.segments, strict=True):
            assert np.array_equal(coco.annToMask(annotation), ids == segment.id)


def test_empty_and_full_masks_have_an_rle() -> None:
    assert encode_mask(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": "6"}
    assert encode_mask(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": "06"}


def test_encoding_all_masks_at_once_equals_encoding_each() -> None:
    rng = np.random.default_rng(7)
    images = [image.ids for image in random_images(seed=8, count=5)]
    images += [np.repeat(rng.integers(0, 4, (11, 1)), 9, axis=1).astype(np.int32), np.array([[7]], np.int32), IDS]
    for ids in images:
        names = [*rng.permutation(np.unique(ids)).tolist(), 12345]  # the last is not drawn
        assert segment_rles(ids, names) == [encode_mask(ids == name)["counts"] for name in names]
    assert segment_rles(IDS, []) == []


def test_a_document_written_in_pieces_equals_one_written_at_once() -> None:
    lists: dict[str, list[object]] = {"images": [{"ä": 1.5}, [2, None]], "annotations": [], "categories": ["x"]}
    file = BytesIO()
    write_json_lists(file, lists)
    assert file.getvalue() == (json.dumps(lists) + "\n").encode()


@pytest.mark.skipif(not COCO_SAMPLE.exists(), reason="the sample of COCO does not lie beside the repository")
def test_coco_images_are_converted_as_by_its_own_tool() -> None:
    annotations = COCO_SAMPLE / "annotations"
    index = build_index(
        annotations / "panoptic_val2017.json", annotations / "panoptic_val2017", COCO_SAMPLE / "val2017"
    )
    found = json.loads(to_detection_format(index))["annotations"]
    assert found == json.loads((annotations / "panoptic_coco_detection_format.json").read_text())["annotations"]
    assert len(found) == 50
