"""The dataset `mini` on disk: complete, consistent, and byte-identical on every run."""

import json
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from panoptic.format.id_map import decode_id_map
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.write import Split, make_entry, readme, write_dataset

SHIPPED = Path("data/mini")


class SegmentJson(TypedDict):
    id: int
    category_id: int
    iscrowd: int
    area: int
    bbox: list[int]


class ImageJson(TypedDict):
    id: int
    file_name: str
    height: int
    width: int


class AnnotationJson(TypedDict):
    image_id: int
    file_name: str
    segments_info: list[SegmentJson]


class PanopticJson(TypedDict):
    images: list[ImageJson]
    annotations: list[AnnotationJson]
    categories: list[dict[str, object]]


class RunLengthsJson(TypedDict):
    size: list[int]
    counts: str | bytes


class InstanceJson(SegmentJson):
    image_id: int
    segmentation: RunLengthsJson


class InstancesJson(TypedDict):
    annotations: list[InstanceJson]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "mini"
    write_dataset(folder, train=24, val=3, seed=3, processes=1)
    return folder


def read_panoptic(path: Path) -> PanopticJson:
    content: PanopticJson = json.loads(path.read_text(encoding="utf-8"))
    return content


def read_instances(path: Path) -> list[InstanceJson]:
    content: InstancesJson = json.loads(path.read_text(encoding="utf-8"))
    return content["annotations"]


def test_layout(dataset: Path) -> None:
    for split, count in (("train", 24), ("val", 3)):
        panoptic = read_panoptic(dataset / f"annotations/panoptic_{split}.json")
        images = {path.name for path in (dataset / split).iterdir()}
        masks = {path.name for path in (dataset / f"annotations/panoptic_{split}").iterdir()}
        assert images == {image["file_name"] for image in panoptic["images"]}
        assert masks == {annotation["file_name"] for annotation in panoptic["annotations"]}
        assert [each["image_id"] for each in panoptic["annotations"]] == [each["id"] for each in panoptic["images"]]
        assert len(images) == len(masks) == count
        assert panoptic["categories"] == CATEGORIES.to_json()
    assert "CC0" in (dataset / "README.md").read_text(encoding="utf-8")


def test_listed_segments_match_the_id_maps(dataset: Path) -> None:
    panoptic = read_panoptic(dataset / "annotations/panoptic_train.json")
    for image, annotation in zip(panoptic["images"], panoptic["annotations"], strict=True):
        pixels = cv2.imread(str(dataset / "train" / image["file_name"]))
        assert pixels is not None
        assert pixels.shape == (image["height"], image["width"], 3)
        path = dataset / "annotations/panoptic_train" / annotation["file_name"]
        ids = decode_id_map(path.read_bytes(), path.name)
        assert ids.shape == pixels.shape[:2]
        segments = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert set(np.unique(ids).tolist()) - {0} == set(segments)
        for segment_id, segment in segments.items():
            rows, columns = np.nonzero(ids == segment_id)
            left, top, width, height = segment["bbox"]
            assert segment["area"] == rows.size
            assert (left, left + width) == (columns.min(), columns.max() + 1)
            assert (top, top + height) == (rows.min(), rows.max() + 1)


def test_instances_are_the_things(dataset: Path) -> None:
    panoptic = read_panoptic(dataset / "annotations/panoptic_train.json")
    instances = read_instances(dataset / "annotations/instances_train.json")
    assert len({instance["id"] for instance in instances}) == len(instances)
    things = {thing.id for thing in CATEGORIES.things}
    compared = 0
    for annotation in panoptic["annotations"]:
        path = dataset / "annotations/panoptic_train" / annotation["file_name"]
        ids = decode_id_map(path.read_bytes(), path.name)
        segments = [segment for segment in annotation["segments_info"] if segment["category_id"] in things]
        own = [instance for instance in instances if instance["image_id"] == annotation["image_id"]]
        for segment, instance in zip(segments, own, strict=True):
            assert np.array_equal(rle.decode(instance["segmentation"]), ids == segment["id"])
            assert instance["category_id"] == segment["category_id"]
            assert instance["iscrowd"] == segment["iscrowd"]
            assert (instance["area"], instance["bbox"]) == (segment["area"], segment["bbox"])
            compared += 1
    assert compared == len(instances) > 0
    assert any(instance["iscrowd"] for instance in instances)


def test_bytes_do_not_depend_on_the_number_of_processes(dataset: Path, tmp_path: Path) -> None:
    """Two processes, fewer images and a folder to replace still give the same images."""
    again = tmp_path / "mini"
    again.mkdir()
    (again / "left-over").touch()
    write_dataset(again, train=3, val=3, seed=3, processes=2)
    kept = [path.relative_to(again) for path in again.rglob("*.*") if path.suffix in {".jpg", ".png"}]
    assert len(kept) == 12
    for name in (*kept, Path("annotations/panoptic_val.json"), Path("annotations/instances_val.json")):
        assert (again / name).read_bytes() == (dataset / name).read_bytes()
    assert not (again / "left-over").exists()


def test_split_index_and_seed_change_an_image() -> None:
    train, val = Split("train", 0, 1, 9), Split("val", 1, 1, 9)
    assert make_entry(4, train, seed=0) == make_entry(4, train, seed=0)
    different = {
        make_entry(4, train, 0).jpeg,
        make_entry(5, train, 0).jpeg,
        make_entry(4, val, 0).jpeg,
        make_entry(4, train, 1).jpeg,
    }
    assert len(different) == 4


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="data/mini is missing; run `dvc pull data.dvc`")
def test_the_generator_reproduces_the_shipped_dataset() -> None:
    """Compare images with a tolerance: another processor may round a pixel differently."""
    assert (SHIPPED / "README.md").read_text(encoding="utf-8") == readme(0, 1600, 150)
    for split in (Split("train", 0, 1, 1600), Split("val", 1, 900_001, 150)):
        entry = make_entry(7, split, seed=0)
        shipped = cv2.imread(str(SHIPPED / split.name / f"{entry.name}.jpg"))
        made = cv2.imdecode(np.frombuffer(entry.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shipped is not None
        assert made is not None
        assert np.abs(shipped.astype(int) - made.astype(int)).mean() < 0.5
