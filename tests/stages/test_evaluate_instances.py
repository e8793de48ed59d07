"""Evaluation with files of instances: AP, and an error breakdown that knows what was lost in merging."""

import csv
import json
from pathlib import Path

import pytest

from panoptic.datasets.coco import build_index
from stages.evaluate import main
from tests.detection_document import to_detection_format
from tests.stages.evaluation_files import write_evaluation


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return write_evaluation(tmp_path)


@pytest.fixture
def instances(tmp_path: Path, arguments: list[str]) -> list[str]:
    """The true instances, and all of them as results, one also of another image."""
    annotations = tmp_path / "ground_truth" / "annotations"
    index = build_index(
        annotations / "panoptic_val.json", annotations / "panoptic_val", tmp_path / "ground_truth" / "val"
    )
    data = to_detection_format(index)
    results = [
        {key: entry[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 0.5}
        for entry in json.loads(data)["annotations"]
        if entry["category_id"] in (3, 7) and not entry["iscrowd"]
    ]
    (tmp_path / "gt.json").write_bytes(data)
    (tmp_path / "predicted.json").write_text(json.dumps([*results, results[0] | {"image_id": 55}]))
    return [
        *("--instances-ground-truth", str(tmp_path / "gt.json")),
        *("--instances-predictions", str(tmp_path / "predicted.json")),
    ]


def test_instances_give_ap(
    tmp_path: Path, arguments: list[str], instances: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*arguments, *instances, "--max-dets", "1", "10", "300"])
    printed = capsys.readouterr()
    assert (
        "predicted.json: there are results for 1 images that are not in the ground truth (image ids 55)" in printed.err
    )
    ap = json.loads((tmp_path / "out" / "metrics.json").read_text())["ap"]
    assert list(ap) == ["segm", "bbox"]
    assert len(ap["segm"]) == 12
    assert (ap["segm"]["AP"], ap["bbox"]["AR300"]) == pytest.approx((1.0, 1.0))
    assert "mask AP 100.00   mask AP50 100.00" in printed.out
    assert "box AP 100.00" in printed.out
    per_class = json.loads((tmp_path / "out" / "per_class.json").read_text())
    assert per_class["3"]["ap"] == pytest.approx({"segm": 1.0, "bbox": 1.0})
    assert "ap" not in per_class["11"]


def test_the_breakdown_attributes_to_merging_what_the_instances_show(
    tmp_path: Path, arguments: list[str], instances: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    outputs = [
        *("--error-breakdown", str(tmp_path / "error_breakdown.json")),
        *("--error-breakdown-table", str(tmp_path / "pq_loss.csv")),
        *("--oracle-table", str(tmp_path / "oracle.csv")),
    ]
    for given in ([], instances[2:]):
        main([*arguments, *outputs, *given])
        error_breakdown = json.loads((tmp_path / "error_breakdown.json").read_text())
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        for group, pq in metrics["pq"].items():
            assert error_breakdown[group]["pq"] == pytest.approx(pq, abs=1e-12)
            lost = [value for value in error_breakdown[group]["pq_loss"].values() if value is not None]
            assert pq + sum(lost) == pytest.approx(1.0, abs=1e-12)
        for table in ("pq_loss", "oracle"):
            rows = csv.DictReader((tmp_path / f"{table}.csv").read_text().splitlines())
            column = {next(iter(row.values())): float(row["things"]) if row["things"] else None for row in rows}
            assert error_breakdown["things"][table].items() <= column.items()
        found.append(error_breakdown["things"])
    assert "predicted.json: there are results for 1 images that are not in the ground truth" in capsys.readouterr().err
    alone, with_instances = found
    assert alone["pq_loss"]["merging"] is None
    assert with_instances["oracle"]["perfect_merging"] == pytest.approx(1.0)


def test_instances_with_image_ids_of_another_type_are_refused(
    tmp_path: Path, arguments: list[str], instances: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """None would be of an image of the ground truth: nothing would be lost in merging, and AP would be 0."""
    path = tmp_path / "predicted.json"
    path.write_text(
        json.dumps([{**entry, "image_id": str(entry["image_id"])} for entry in json.loads(path.read_text())])
    )
    for given in (["--error-breakdown", str(tmp_path / "error_breakdown.json"), *instances[2:]], instances):
        with pytest.raises(SystemExit):
            main([*arguments, *given])
        error = capsys.readouterr().err
        assert "predicted.json: results[0]: image ids are of another type than in" in error
        assert ": '100' here, 100 there; write them as they are there" in error
