import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from panoptic.evaluation.sizes import SIZE_METRICS
from panoptic.format.segments import SegmentLabel
from stages.evaluate import main
from tests.stages.evaluation_files import evaluation_arguments, write_evaluation
from tests.tiny_dataset import TinyImage, write_split


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return write_evaluation(tmp_path)


def test_ground_truth_against_itself_is_exactly_one_in_the_documented_format(
    tmp_path: Path, arguments: list[str]
) -> None:
    main(evaluation_arguments(tmp_path / "ground_truth", tmp_path / "ground_truth", tmp_path / "out"))
    ones = {"all": 1.0, "things": 1.0, "stuff": 1.0}
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    names = ["pq", "sq", "rq", "boundary_pq", "boundary_sq", "boundary_rq"]
    by_size = [name for metric in SIZE_METRICS for name in metric.averages]
    assert list(metrics) == [*names, "miou", *by_size, "intervals", "segments_by_size"]
    assert [metrics[name] for name in names] == [ones] * 6
    assert metrics["miou"] == 1.0
    certain = {"low": 1.0, "high": 1.0}
    intervals = metrics["intervals"]
    assert {name: intervals[name] for name in intervals if name not in by_size} == {
        name: dict.fromkeys(ones, certain) for name in ("miou", *names)
    }
    for name in by_size:  # None for a group that has no segment of the size
        assert set(metrics[name].values()) <= {1.0, None}
        assert intervals[name] == {group: certain if value else None for group, value in metrics[name].items()}


def test_the_files_agree_with_each_other(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments)
    metrics, per_class, per_image = (
        json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("metrics", "per_class", "per_image")
    )
    assert list(per_class) == ["3", "7", "11", "20"]
    counts = ["tp", "fp", "fn", "iou_sum", "pq", "sq", "rq"]
    assert list(per_class["3"]) == ["name", *counts, "iou", "boundary"]
    assert list(per_class["3"]["boundary"]) == counts
    boundary = {key: entry["boundary"] for key, entry in per_class.items()}
    for group, members in (("all", ["3", "7", "11", "20"]), ("things", ["3", "7"]), ("stuff", ["11", "20"])):
        for value in ("pq", "sq", "rq"):
            for prefix, entries in (("", per_class), ("boundary_", boundary)):
                mean = sum(entries[member][value] for member in members) / len(members)
                assert math.isclose(metrics[prefix + value][group], mean, rel_tol=1e-12)
                limits = metrics["intervals"][prefix + value][group]
                assert 0 < limits["low"] <= metrics[prefix + value][group] <= limits["high"] <= 1
    for key in counts[:4]:
        assert math.isclose(sum(c[key] for c in per_class.values()), sum(i[key] for i in per_image.values()))
        assert math.isclose(sum(c[key] for c in boundary.values()), sum(i["boundary"][key] for i in per_image.values()))
    assert metrics["boundary_pq"]["all"] < metrics["pq"]["all"], "the lost columns are thinner than the band"
    assert math.isclose(metrics["miou"], sum(entry["iou"] for entry in per_class.values()) / 4)
    assert list(per_image) == ["100", "101", "102"]
    assert metrics["pq"]["all"] != round(metrics["pq"]["all"], 10), "written at full precision"
    assert f"{100 * metrics['pq']['things']:.2f}" in capsys.readouterr().out


def test_dvc_shows_eight_metrics_from_the_file_of_all(tmp_path: Path, arguments: list[str]) -> None:
    main([*arguments, "--summary", str(tmp_path / "summary.json")])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "PQ": metrics["pq"]["all"],
        "PQ_th": metrics["pq"]["things"],
        "PQ_st": metrics["pq"]["stuff"],
        "SQ": metrics["sq"]["all"],
        "RQ": metrics["rq"]["all"],
        "boundary_PQ": metrics["boundary_pq"]["all"],
        "mIoU": metrics["miou"],
        "AP": None,  # no instances were given
    }
    stages = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]
    shown = [next(iter(metric)) for stage in stages.values() for metric in stage.get("metrics", [])]
    assert shown == ["runs/evaluate/summary.json"]


def test_an_empty_group_is_null(tmp_path: Path) -> None:
    ids = np.full((4, 4), 6, np.int32)
    image = TinyImage(1, np.zeros((4, 4, 3), np.uint8), ids, (SegmentLabel(6, 3, False),))
    write_split(tmp_path / "ground_truth", "val", [image])
    main(evaluation_arguments(tmp_path / "ground_truth", tmp_path / "ground_truth", tmp_path / "out"))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["pq"] == {"all": 1.0, "things": 1.0, "stuff": None}
    per_class = json.loads((tmp_path / "out" / "per_class.json").read_text())
    assert per_class["11"] | {"pq": None, "sq": None, "rq": None} == per_class["11"]


def test_an_extra_result_is_a_warning_not_an_error(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ground_truth = tmp_path / "ground_truth" / "annotations" / "panoptic_val.json"
    document = json.loads(ground_truth.read_text())
    document["annotations"].pop(1)
    ground_truth.write_text(json.dumps(document))
    main(arguments)
    assert "image ids 101" in capsys.readouterr().err
    assert list(json.loads((tmp_path / "out" / "per_image.json").read_text())) == ["100", "102"]


def test_a_full_disk_leaves_no_new_file_beside_an_old_one(
    small_disk: Path, tmp_path: Path, arguments: list[str]
) -> None:
    out, names = small_disk, ("metrics.json", "per_class.json", "per_image.json")
    for name in names:
        (out / name).write_text("old")
    command = [sys.executable, "-m", "stages.evaluate"]
    command += [argument.replace(str(tmp_path / "out"), str(out)) for argument in arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device; free disk space" in done.stderr
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "old")


def test_an_issue_ends_the_command_with_status_2_and_nothing_written(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "results" / "annotations" / "panoptic_val" / "000101.png"
    path.write_bytes(path.read_bytes()[:-20])
    command = [sys.executable, "-m", "stages.evaluate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "000101.png: the PNG is cut short" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_result_is_an_error_or_counts_as_empty(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results" / "annotations" / "panoptic_val.json"
    document = json.loads(results.read_text())
    lost = document["annotations"].pop(1)
    results.write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        main(arguments)
    assert "no result for 1 of 3 images (image ids 101)" in capsys.readouterr().err
    main([*arguments, "--missing-as-empty"])
    assert (
        "no result for 1 images (image ids 101); all their segments count as false negatives" in capsys.readouterr().err
    )
    ground_truth = json.loads((tmp_path / "ground_truth" / "annotations" / "panoptic_val.json").read_text())
    regular = [
        s for a in ground_truth["annotations"] if a["image_id"] == 101 for s in a["segments_info"] if not s["iscrowd"]
    ]
    entry = json.loads((tmp_path / "out" / "per_image.json").read_text())["101"]
    assert lost["segments_info"], "there was something to lose"
    assert (entry["tp"], entry["fp"], entry["fn"]) == (0, 0, len(regular))


def test_areas_that_disagree_are_reported_and_count_on_request(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ground_truth = tmp_path / "ground_truth" / "annotations" / "panoptic_val.json"
    document = json.loads(ground_truth.read_text())
    for segment in (s for annotation in document["annotations"] for s in annotation["segments_info"]):
        segment["area"] = 5000
    ground_truth.write_text(json.dumps(document))

    def pq() -> float:
        value: float = json.loads((tmp_path / "out" / "metrics.json").read_text())["pq"]["all"]
        return value

    main(arguments)
    counted = pq()
    count = sum(len(annotation["segments_info"]) for annotation in document["annotations"])
    errors = capsys.readouterr().err
    assert f"the 'area' of {count} segments differs from the PNG (image id 100: segment " in errors
    assert errors.count("lists 5000, has ") == 3, "examples, not all"
    assert "; the pixels are used" in errors
    main([*arguments, "--panopticapi-area"])
    assert "; the JSON is used" in capsys.readouterr().err
    assert pq() < counted
    del document["annotations"][2]["segments_info"][0]["area"]
    ground_truth.write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        main([*arguments, "--panopticapi-area"])
    assert "has no 'area'" in capsys.readouterr().err


def test_boundaries_and_intervals_can_be_left_out(tmp_path: Path, arguments: list[str]) -> None:
    main([*arguments, "--boundary-ratio", "0", "--bootstrap", "0"])
    assert list(json.loads((tmp_path / "out" / "metrics.json").read_text())) == [
        *("pq", "sq", "rq", "miou"),
        *(name for metric in SIZE_METRICS for name in metric.averages),
        "segments_by_size",
    ]
    assert "boundary" not in json.loads((tmp_path / "out" / "per_class.json").read_text())["3"]


def test_options_override_the_settings_file(tmp_path: Path, arguments: list[str]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("evaluate: {boundary_ratio: 0.3, bootstrap: 0}\n")
    found = []
    for options in ([], ["--boundary-ratio", "0.02"]):
        main([*arguments, "--params", str(params), *options])
        found.append(json.loads((tmp_path / "out" / "metrics.json").read_text()))
    wide, narrow = found
    assert "intervals" not in narrow
    assert wide["boundary_pq"]["all"] > narrow["boundary_pq"]["all"], "a band that covers all is the mask"
    assert wide["boundary_pq"] == wide["pq"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-dets", "10", "1", "100"], "max_dets is [10, 1, 100]; give three increasing numbers"),
        (["--bootstrap", "-1"], "evaluate.bootstrap is -1; give at least 0"),
        (["--workers", "-2"], "workers is -2; give the number of processes, 0 for none, or -1 for one per core"),
        (["--boundary-ratio", "2"], "evaluate.boundary_ratio is 2.0; give at least 0 and at most 1"),
        (["--instances-ground-truth", "x.json"], "AP needs --instances-predictions too"),
        (["--instances-predictions", "x.json"], "AP needs --instances-ground-truth too"),
    ],
)
def test_wrong_options_are_explained(
    arguments: list[str], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments, *options])
    assert message in capsys.readouterr().err


def test_workers_change_nothing(tmp_path: Path, arguments: list[str]) -> None:
    files = [tmp_path / "out" / f"{name}.json" for name in ("metrics", "per_class", "per_image")]
    written = []
    for workers in ("0", "2"):
        main([*arguments, "--workers", workers])
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]


def test_scoring_imports_nothing_heavy() -> None:
    """Each of several scoring processes imports this stage; OpenCV and scipy alone would be most of its 80 MB."""
    names = "cv2", "matplotlib", "scipy", "torch"
    code = f"import sys, stages.evaluate; print(*set({names}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_an_area_by_which_a_union_is_too_small_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two balls of 12 pixels on 24 of sky: by panopticapi's rules, IoU 12 / (area + 12 - 12)."""
    ids = np.repeat([[5, 6, 70, 70]], 3, 0).repeat(4, 1).astype(np.int32)
    segments = (SegmentLabel(5, 3, False), SegmentLabel(6, 3, False), SegmentLabel(70, 11, False))
    write_split(tmp_path / "gt", "val", [TinyImage(1, np.zeros((3, 16, 3), np.uint8), ids, segments)])
    path = tmp_path / "gt/annotations/panoptic_val.json"
    document = json.loads(path.read_text())
    arguments = [*evaluation_arguments(tmp_path / "gt", tmp_path / "gt", tmp_path / "out"), "--bootstrap", "0"]

    def score(*areas: float) -> None:
        for segment, area in zip(document["annotations"][0]["segments_info"], areas, strict=True):
            segment["area"] = area
        gt = tmp_path / "gt.json"
        gt.write_text(json.dumps(document))
        main([*arguments, "--ground-truth-json", str(gt), "--panopticapi-area"])

    def pq() -> float:
        value: float = json.loads((tmp_path / "out/metrics.json").read_text())["pq"]["all"]
        return value

    def refused(*areas: float) -> str:
        with pytest.raises(SystemExit):
            score(*areas)
        return capsys.readouterr().err

    score(12, 12, 24)
    assert pq() == 1
    score(16, 12, 24)
    assert pq() == ((12 / 16 + 1) / 2 + 1) / 2
    assert "segment 5 lists 16, has 12 pixels); the JSON is used" in capsys.readouterr().err
    for area in (11, 1, 0, -1):
        assert f"image id 1: segment 5 lists {area}, has 12 pixels" in refused(area, 12, 24)
    error = refused(1, 2, 3)
    assert "gt.json: the 'area' of 3 segments is too small for an IoU of at most 1 (image id 1: segment 5" in error
    assert "; correct it, or leave out --panopticapi-area" in error
    for nonsense in (11.5, float("nan"), float("inf"), 10**30):
        assert "segment 5 has no 'area' in the JSON that is a whole number" in refused(nonsense, 12, 24)
    assert pq() == ((12 / 16 + 1) / 2 + 1) / 2, "nothing is written of what is refused"


def test_labels_of_a_network_are_recognized_as_no_category_ids(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Detection libraries count classes from 0; of many issues, this one comes first."""
    ground_truth, results = (json.loads(Path(arguments[index]).read_text()) for index in (1, 5))
    labels = {category["id"]: label for label, category in enumerate(ground_truth["categories"])}
    for entry in results["annotations"]:
        for segment in entry["segments_info"]:
            segment["category_id"] = labels[segment["category_id"]]
    results.pop("categories", None)
    Path(arguments[5]).write_text(json.dumps(results))
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    first = capsys.readouterr().err.splitlines()[1]
    assert "a network's labels" in first
    assert f"count the {len(labels)} classes from 0" in first


def test_other_files_than_panoptic_results_are_named(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    results = Path(arguments[5])
    content = json.loads(results.read_text())
    content["annotations"] = [{**entry, "image_id": entry["image_id"] + 1000} for entry in content["annotations"]]
    shifted = ", ".join(str(entry["image_id"]) for entry in content["annotations"])
    for text, message in (
        (json.dumps(content["annotations"]), "is a list; COCO's panoptic format is an object with 'annotations'"),
        (json.dumps(content), f"no result for 3 of 3 images .*, only for image ids {shifted}"),
    ):
        results.write_text(text)
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        assert re.search(message, capsys.readouterr().err)
    results.unlink()
    results.mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "is a folder; give a file that can be read" in capsys.readouterr().err


def test_maps_with_red_and_blue_exchanged_are_recognized(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in Path(arguments[7]).glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path))[..., ::-1]).save(path)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    issues = capsys.readouterr().err.splitlines()[1:]
    assert sum("red and blue are exchanged (image id " in issue for issue in issues) == 3
