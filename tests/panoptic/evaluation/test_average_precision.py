"""AP compared with pycocotools reading the files itself, and the traps that it falls into."""

import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic.evaluation.average_precision import average_precision
from panoptic.format.categories import CategoryTable
from panoptic.instances.results import read_instance_results
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES
from tests.tiny_instances import Entries, InstanceFiles, edit, write_instances

TABLE = CategoryTable.from_json(CATEGORIES)
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
Kind = Literal["segm", "bbox"]
KINDS: tuple[Kind, ...] = ("segm", "bbox")


@pytest.fixture
def files(tmp_path: Path) -> InstanceFiles:
    return write_instances(tmp_path)


def _plain(ground_truth: Path, results: Path, kind: Kind, max_dets: Sequence[int] = (1, 10, 100)) -> COCOeval:
    """The documented use of pycocotools, which reads the files itself, with ids from 1 and things only."""
    document = json.loads(ground_truth.read_text())
    for annotation in document["annotations"]:
        annotation["id"] += 1
    plain = ground_truth.with_name("plain.json")
    plain.write_text(json.dumps(document))
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(plain))
        evaluation = COCOeval(coco, coco.loadRes(str(results)), kind)
        evaluation.params.catIds = [3, 7]
        evaluation.params.maxDets = list(max_dets)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _drop_boxes(results: Entries) -> None:
    for result in results:
        del result["bbox"]


def _write_other_shapes(annotations: Entries) -> None:
    """Polygons and lists of runs, which ground truth may have too."""
    for number, annotation in enumerate(annotations):
        left, top, width, height = cast("list[int]", annotation["bbox"])
        right, bottom = left + width, top + height
        if number % 3 == 0:
            annotation["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
        elif number % 3 == 1:
            runs = [left * 160 + top, *[height, 160 - height] * (width - 1), height]
            annotation["segmentation"] = {"size": [160, 160], "counts": [*runs, 160 * 160 - sum(runs)]}


def _repeat_one_in_front(results: Entries) -> None:
    """Only one of two can be right, also where it is the one that a count from 0 would call 0."""
    results.insert(0, next(result for result in results if cast("list[int]", result["bbox"])[2] > 100))


@pytest.mark.parametrize("change", [len, _drop_boxes, _repeat_one_in_front])
def test_the_twelve_numbers_equal_those_of_pycocotools_alone(
    files: InstanceFiles, capsys: pytest.CaptureFixture[str], change: Callable[[Entries], object]
) -> None:
    ground_truth, results = files.ground_truth, files.results
    edit(ground_truth, _write_other_shapes)
    edit(results, change)
    found = average_precision(ground_truth, read_instance_results(results, TABLE), TABLE).by_iou_type
    assert capsys.readouterr().out == ""
    assert tuple(found) == KINDS
    for kind in KINDS:
        numbers, per_class = found[kind].numbers, found[kind].per_class
        expected = _plain(ground_truth, results, kind).stats.tolist()
        assert list(numbers) == NAMES
        assert list(numbers.values()) == expected
        assert min(expected) > 0, "every number must have something to be right about"
        assert list(per_class) == [3, 7]
        assert numbers["AP"] == pytest.approx(np.mean([per_class[3], per_class[7]]))
    assert found["segm"].numbers != found["bbox"].numbers


@pytest.mark.parametrize("names", [{4: 12, 5: -3, 9: 2**62}, {4: "town_b", 5: "town_a", 9: "10"}])
def test_image_ids_of_any_type_are_ranked_as_by_pycocotools(files: InstanceFiles, names: dict[int, int | str]) -> None:
    """Among equal scores, the order of the images decides."""
    document = json.loads(files.ground_truth.read_text())
    for image in document["images"]:
        image["id"] = names[image["id"]]
    for annotation in document["annotations"]:
        annotation["image_id"] = names[annotation["image_id"]]
    files.ground_truth.write_text(json.dumps(document))
    results = json.loads(files.results.read_text())
    renamed = [{**entry, "score": 0.5, "image_id": names[entry["image_id"]]} for entry in results]
    files.results.write_text(json.dumps(renamed))
    found = average_precision(files.ground_truth, read_instance_results(files.results, TABLE), TABLE).by_iou_type
    for kind in KINDS:
        expected = _plain(files.ground_truth, files.results, kind).stats.tolist()
        assert list(found[kind].numbers.values()) == expected


def test_results_with_image_ids_of_another_type_are_refused(files: InstanceFiles) -> None:
    renamed = [{**entry, "image_id": str(entry["image_id"])} for entry in json.loads(files.results.read_text())]
    files.results.write_text(json.dumps(renamed))
    results = read_instance_results(files.results, TABLE)
    with pytest.raises(DatasetError, match=r"results\[0\]: image ids are of another type than .*: '4' here, 4 there"):
        average_precision(files.ground_truth, results, TABLE)


def test_an_image_that_is_listed_twice_is_refused(files: InstanceFiles) -> None:
    document = json.loads(files.ground_truth.read_text())
    document["images"].append({"id": 4, "height": 16, "width": 16})
    files.ground_truth.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"images\[3\]: image id 4 is listed twice"):
        average_precision(files.ground_truth, [], TABLE)


def test_ground_truth_as_its_own_result_is_one_although_its_ids_start_at_0(files: InstanceFiles) -> None:
    ground_truth, results = files.ground_truth, files.results
    annotations = json.loads(ground_truth.read_text())["annotations"]
    assert annotations[0]["id"] == 0
    perfect = [
        {key: entry[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 0.5}
        for entry in annotations
        if not entry["iscrowd"]  # including stuff, which is not scored
    ]
    results.write_text(json.dumps(perfect))
    for precision in average_precision(ground_truth, read_instance_results(results, TABLE), TABLE).by_iou_type.values():
        # With one detection per image, AR cannot find all of several.
        assert 0 < (precision.numbers.pop("AR1") or 0) < 1
        assert list(precision.numbers.values()) == pytest.approx([1.0] * 11, abs=1e-12)


def test_other_maxima_and_areas_count(files: InstanceFiles) -> None:
    results = read_instance_results(files.results, TABLE)
    numbers = average_precision(files.ground_truth, results, TABLE, (1, 2, 4)).by_iou_type["segm"].numbers
    assert list(numbers) == [*NAMES[:6], "AR1", "AR2", "AR4", *NAMES[9:]]
    # The summary of pycocotools has AP for 100 detections only.
    plain = _plain(files.ground_truth, files.results, "segm", (1, 2, 4)).eval
    for name, values in {"AP": plain["precision"][:, :, :, 0, 2], "AR2": plain["recall"][:, :, 0, 1]}.items():
        assert numbers[name] == values[values > -1].mean()
    assert numbers != average_precision(files.ground_truth, results, TABLE).by_iou_type["segm"].numbers
    found = average_precision(files.ground_truth, results, TABLE, area_bounds=(10, 10**6)).by_iou_type["segm"].numbers
    assert found["APs"] is None
    assert found["APm"] == pytest.approx(found["AP"])
    assert found["APl"] is None


@pytest.mark.parametrize("max_dets", [(1, 10), (10, 1, 100), (0, 10, 100), (1, 10, 10)])
def test_anything_but_three_increasing_maxima_is_refused(files: InstanceFiles, max_dets: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give three increasing numbers"):
        average_precision(files.ground_truth, [], TABLE, max_dets)


def test_no_results_find_nothing_and_no_ground_truth_has_no_value(files: InstanceFiles) -> None:
    assert set(average_precision(files.ground_truth, [], TABLE).by_iou_type["segm"].numbers.values()) == {0.0}
    edit(files.ground_truth, list.clear)
    results = read_instance_results(files.results, TABLE)
    assert set(average_precision(files.ground_truth, results, TABLE).by_iou_type["bbox"].numbers.values()) == {None}


def test_a_dataset_without_things_has_no_value(files: InstanceFiles) -> None:
    table = CategoryTable.from_json([{**entry, "isthing": 0} for entry in CATEGORIES])
    found = average_precision(files.ground_truth, read_instance_results(files.results, table), table).by_iou_type
    assert set(found["segm"].numbers.values()) == {None}
    assert found["segm"].per_class == {}


def test_results_for_other_images_change_nothing_but_are_named(files: InstanceFiles) -> None:
    ground_truth, path = files.ground_truth, files.results
    expected = average_precision(ground_truth, read_instance_results(path, TABLE), TABLE)
    edit(path, lambda entries: entries.insert(0, entries[0] | {"image_id": 77}))
    found = average_precision(ground_truth, read_instance_results(path, TABLE), TABLE)
    assert found.ignored == (77,)
    assert found.by_iou_type == expected.by_iou_type
