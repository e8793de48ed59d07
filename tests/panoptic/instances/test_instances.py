"""Files of instances: what is read from them, and that every issue is named."""

import json
from pathlib import Path

import pytest

from panoptic.evaluation.average_precision import average_precision
from panoptic.format.categories import CategoryTable
from panoptic.instances.ground_truth import read_instance_ground_truth
from panoptic.instances.results import masks_by_image, read_instance_results
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES
from tests.tiny_instances import InstanceFiles, edit, write_instances

TABLE = CategoryTable.from_json(CATEGORIES)


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return write_instances(tmp_path)


def test_ground_truth_things_are_numbered_from_1(files: InstanceFiles) -> None:
    listed = [
        entry for entry in json.loads(files.ground_truth.read_text())["annotations"] if entry["category_id"] != 11
    ]
    found = read_instance_ground_truth(files.ground_truth, TABLE).annotations
    assert [entry["id"] for entry in found] == list(range(1, len(listed) + 1))
    for key in ("image_id", "category_id", "iscrowd", "area", "bbox", "segmentation"):
        assert [entry[key] for entry in found] == [entry[key] for entry in listed]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": float("nan")}, r"results\[1\]: 'score' should be a finite number, found nan"),
        ({"score": "high"}, r"results\[1\]: 'score' should be a finite number"),
        ({"category_id": 99}, r"results\[1\]: unknown category 99"),
        ({"image_id": 4.5}, r"results\[1\]: 'image_id' should be an integer"),
        ({"segmentation": [[1, 2, 3]]}, r"results\[1\]: 'segmentation' should be an object"),
        ({"segmentation": {"size": [4, 5], "counts": "D"}}, "'counts' is damaged, its runs do not fill 4 x 5 pixels"),
        ({"segmentation": {"size": [4, 5], "counts": "d"}}, "'counts' is damaged"),
        ({"segmentation": {"size": [4, 5], "counts": "é"}}, "'counts' is damaged"),
        ({"segmentation": {"size": [4, 5], "counts": "\ud800"}}, "'counts' is damaged"),
        ({"segmentation": {"size": [4, 5], "counts": [9, -4, 15]}}, "'counts' is damaged"),
        ({"segmentation": {"size": [4], "counts": "4"}}, "'size' should be height and width"),
        ({"bbox": [1, 2, 3]}, r"results\[1\]: 'bbox' should be a list of 4 finite numbers"),
    ],
)
def test_a_malformed_result_is_named(files: InstanceFiles, change: dict[str, object], message: str) -> None:
    edit(files.results, lambda entries: entries[1].update(change))
    with pytest.raises(DatasetError, match=message) as caught:
        read_instance_results(files.results, TABLE)
    assert "results.json" in str(caught.value)


def test_a_mask_of_another_size_is_refused(files: InstanceFiles) -> None:
    half = {"size": [80, 160], "counts": [80 * 160]}
    edit(files.results, lambda entries: entries[3].update(segmentation=half))
    results = read_instance_results(files.results, TABLE)
    with pytest.raises(DatasetError, match=r"results\[3\]: the mask is 80 x 160 .* but the image is 160 x 160"):
        average_precision(files.ground_truth, results, TABLE)


def test_masks_by_image_hold_the_things(files: InstanceFiles) -> None:
    entries = json.loads(files.results.read_text())
    edit(files.results, lambda results: results.append(results[0] | {"category_id": 11}))
    found = masks_by_image(read_instance_results(files.results, TABLE))
    assert {image_id: [category for category, _ in masks] for image_id, masks in found.items()} == {
        image_id: [entry["category_id"] for entry in entries if entry["image_id"] == image_id] for image_id in (4, 5, 9)
    }


def test_files_without_a_list_of_results_are_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(DatasetError, match="no such file"):
        read_instance_results(path, TABLE)
    for text, message in (("{}", "expected a list"), ("[", "not valid JSON"), ("[" * 100_000, "not valid JSON")):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_instance_results(path, TABLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 6}, r"annotations\[1\]: image id 6 is not in 'images'"),
        ({"category_id": 99}, r"annotations\[1\]: category 99 is not in the panoptic ground truth"),
        ({"area": None}, r"annotations\[1\]: 'area' should be a finite number"),
        ({"segmentation": [[1, 2]]}, r"annotations\[1\]: 'segmentation' should be a mask, or polygons"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, r"annotations\[1\]: the mask is 4 x 4 .* 160 x 160"),
        ({"segmentation": {"size": [160, 160], "counts": "1"}}, "'counts' is damaged"),
        ({"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}, r"'size' .* found \[1000000, 1000000\]"),
        ({"segmentation": [[0, 0, 1e9, 0, 1e9, 9]]}, r"annotations\[1\]: the point \(1e\+09, 0\) is far outside"),
        ({"area": float("nan")}, r"annotations\[1\]: 'area' should be a finite number, found nan"),
        ({"bbox": [0, 0, float("inf"), 1]}, r"annotations\[1\]: 'bbox' should be a list of 4 finite numbers"),
        ({"iscrowd": "no"}, r"annotations\[1\]: 'iscrowd' should be 0 or 1, found 'no'"),
    ],
)
def test_malformed_ground_truth_is_named(files: InstanceFiles, change: dict[str, object], message: str) -> None:
    edit(files.ground_truth, lambda annotations: annotations[1].update(change))
    with pytest.raises(DatasetError, match=message):
        read_instance_ground_truth(files.ground_truth, TABLE)


@pytest.mark.parametrize("size", [(0, 160), (160, -1), (10**6, 10**6)])
def test_a_size_that_no_image_has_is_refused(files: InstanceFiles, size: tuple[int, int]) -> None:
    document = json.loads(files.ground_truth.read_text())
    document["images"][1].update(height=size[0], width=size[1])
    files.ground_truth.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=rf"images\[1\]: the size is {size[0]} x {size[1]} \(height x width\)"):
        read_instance_ground_truth(files.ground_truth, TABLE)


def test_ground_truth_that_numbers_its_classes_differently_is_refused(files: InstanceFiles) -> None:
    document = json.loads(files.ground_truth.read_text())
    document["categories"] = [{"id": 3, "name": "star"}]
    files.ground_truth.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="category 3 is 'star', but 'ball' in the panoptic ground truth"):
        read_instance_ground_truth(files.ground_truth, TABLE)
