"""AP against a plain run of pycocotools on its own files, and the traps that such a run falls into."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic.average_precision import average_precision
from panoptic.categories import CategoryTable
from panoptic.detection_format import encode_mask
from panoptic.errors import DatasetError
from panoptic.instance_results import InstanceResult, read_instance_results
from tests.tiny_dataset import CATEGORIES

TABLE = CategoryTable.from_json(CATEGORIES)
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Ground truth with balls, stars, sky and crowd on pictures of 160 x 160, and instances near them."""
    rng = np.random.default_rng(0)
    images = [{"id": number, "height": 160, "width": 160} for number in (4, 5, 9)]
    annotations: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for image in images:
        for number in range(9):
            side = int(rng.choice([9, 40, 110]))
            top, left = rng.integers(0, 160 - side, 2).tolist()
            mask = np.zeros((160, 160), np.bool_)
            mask[top : top + side, left : left + side] = True
            category = int(rng.choice([3, 7])) if number else 11
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image["id"],
                    "category_id": category,
                    "iscrowd": int(number == 8),
                    "area": int(mask.sum()),
                    "bbox": [left, top, side, side],
                    "segmentation": encode_mask(mask),
                }
            )
            if category == 11:
                continue
            for _ in range(2):
                dy, dx = rng.integers(-2, 3, 2).tolist()
                moved = np.roll(mask, (dy, dx), (0, 1))
                moved[top + side // 2 :, left : left + side // 2] = False
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": category if rng.random() < 0.8 else 10 - category,
                        "segmentation": encode_mask(moved),
                        "bbox": [max(left + dx, 0), max(top + dy, 0), side, side],
                        "score": float(rng.random()),
                    }
                )
    truth, found = tmp_path / "truth.json", tmp_path / "results.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    found.write_text(json.dumps(results))
    return truth, found


def _plain(truth: Path, results: Path, kind: str) -> list[float]:
    """As pycocotools documents it, with ids from 1, things only, and one kind of shape in the results."""
    document = json.loads(truth.read_text())
    for annotation in document["annotations"]:
        annotation["id"] += 1
    entries = [
        {key: value for key, value in entry.items() if key != ("bbox" if kind == "segm" else "segmentation")}
        for entry in json.loads(results.read_text())
    ]
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = document
        coco.createIndex()
        assert kind in ("segm", "bbox")
        evaluation = COCOeval(coco, coco.loadRes(entries), "segm" if kind == "segm" else "bbox")
        evaluation.params.catIds = [3, 7]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers: list[float] = evaluation.stats.tolist()
    return numbers


def test_the_twelve_numbers_are_those_of_a_plain_run(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, results = files
    found = average_precision(truth, read_instance_results(results, TABLE), TABLE)
    assert capsys.readouterr().out == ""
    assert list(found) == ["segm", "bbox"]
    for kind, precision in found.items():
        expected = _plain(truth, results, kind)
        assert list(precision.numbers) == NAMES
        assert list(precision.numbers.values()) == pytest.approx(expected, abs=1e-12)
        assert min(expected) > 0, "every number must have something to be right about"
        assert precision.numbers["AP"] == pytest.approx(np.mean([precision.per_class[3], precision.per_class[7]]))
    assert found["segm"].numbers != found["bbox"].numbers


def test_truth_as_its_own_result_is_one_although_its_ids_start_at_0(files: tuple[Path, Path]) -> None:
    document = json.loads(files[0].read_text())
    results = [
        InstanceResult(entry["image_id"], entry["category_id"], 0.5, entry["segmentation"])
        for entry in document["annotations"]
        if not entry["iscrowd"] and entry["category_id"] != 11
    ]
    for precision in average_precision(files[0], results, TABLE).values():
        # AR of one detection a picture cannot find all of several.
        assert {name: value for name, value in precision.numbers.items() if name != "AR1"} == pytest.approx(
            dict.fromkeys([name for name in NAMES if name != "AR1"], 1.0), abs=1e-12
        )


def test_another_maximum_counts_and_names(files: tuple[Path, Path]) -> None:
    found = average_precision(files[0], read_instance_results(files[1], TABLE), TABLE, max_dets=11)["segm"]
    assert list(found.numbers)[8] == "AR11"
    assert found.numbers["AP"] is not None
    assert found.numbers["AP"] > 0
    with pytest.raises(ValueError, match="give more than 10"):
        average_precision(files[0], [], TABLE, max_dets=10)


def test_no_results_find_nothing_and_no_truth_has_no_value(files: tuple[Path, Path]) -> None:
    assert set(average_precision(files[0], [], TABLE)["segm"].numbers.values()) == {0.0}
    document = json.loads(files[0].read_text())
    document["annotations"] = []
    files[0].write_text(json.dumps(document))
    results = read_instance_results(files[1], TABLE)
    assert set(average_precision(files[0], results, TABLE)["bbox"].numbers.values()) == {None}


def test_results_for_other_pictures_change_nothing(files: tuple[Path, Path]) -> None:
    results = read_instance_results(files[1], TABLE)
    other = InstanceResult(77, 3, 1.0, results[0].mask)
    assert average_precision(files[0], [other, *results], TABLE) == average_precision(files[0], results, TABLE)


def test_a_mask_of_another_size_is_refused(files: tuple[Path, Path]) -> None:
    wrong = InstanceResult(4, 3, 1.0, read_instance_results(files[1], TABLE)[0].mask | {"size": [80, 320]})
    with pytest.raises(DatasetError, match=r"image id 4: .* 80 x 320 .* the ground truth is 160 x 160"):
        average_precision(files[0], [wrong], TABLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": float("nan")}, r"results\[1\]: 'score' should be a finite number, found nan"),
        ({"score": "high"}, r"results\[1\]: 'score' should be a finite number"),
        ({"category_id": 11}, r"results\[1\]: category 11 is no thing"),
        ({"category_id": 99}, r"results\[1\]: category 99 is no thing"),
        ({"image_id": "4"}, r"results\[1\]: 'image_id' should be an integer"),
        ({"segmentation": [[1, 2, 3]]}, r"results\[1\]: 'segmentation' should be an object"),
        ({"bbox": [1, 2, 3]}, r"results\[1\]: 'bbox' should be left, top, width, height"),
    ],
)
def test_a_malformed_result_is_named(files: tuple[Path, Path], change: dict[str, object], message: str) -> None:
    entries = json.loads(files[1].read_text())
    entries[1] |= change
    files[1].write_text(json.dumps(entries))
    with pytest.raises(DatasetError, match=message):
        read_instance_results(files[1], TABLE)


def test_files_that_are_no_list_of_results_are_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(DatasetError, match="no such file"):
        read_instance_results(path, TABLE)
    for text, message in (("{}", "expected a list"), ("[", "not valid JSON")):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_instance_results(path, TABLE)
