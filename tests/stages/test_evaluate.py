import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from panoptic.segments import SegmentLabel
from stages.evaluate import main
from tests.tiny_dataset import TinyPicture, random_pictures, write_split


def _arguments(truth: Path, results: Path, output: Path) -> list[str]:
    return [
        *("--ground-truth-json", str(truth / "annotations" / "panoptic_val.json")),
        *("--ground-truth-folder", str(truth / "annotations" / "panoptic_val")),
        *("--predictions-json", str(results / "annotations" / "panoptic_val.json")),
        *("--predictions-folder", str(results / "annotations" / "panoptic_val")),
        *("--metrics", str(output / "metrics.json")),
        *("--per-class", str(output / "per_class.json")),
        *("--per-image", str(output / "per_image.json")),
    ]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Three pictures, and results that lack some pixels."""
    pictures = random_pictures(seed=9, count=3)
    results = []
    for picture in pictures:
        ids = np.where(np.arange(picture.ids.shape[1]) % 9 == 0, 0, picture.ids).astype(np.int32)
        segments = tuple(SegmentLabel(s.id, s.category_id, False) for s in picture.segments if np.any(ids == s.id))
        results.append(TinyPicture(picture.image_id, picture.image, ids, segments))
    write_split(tmp_path / "truth", "val", pictures)
    write_split(tmp_path / "results", "val", results)
    return _arguments(tmp_path / "truth", tmp_path / "results", tmp_path / "out")


def test_truth_against_itself_is_exactly_one_in_the_documented_format(tmp_path: Path, arguments: list[str]) -> None:
    main(_arguments(tmp_path / "truth", tmp_path / "truth", tmp_path / "out"))
    ones = {"all": 1.0, "things": 1.0, "stuff": 1.0}
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {"pq": ones, "sq": ones, "rq": ones}


def test_the_files_agree_with_each_other(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments)
    metrics, per_class, per_image = (
        json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("metrics", "per_class", "per_image")
    )
    assert list(per_class) == ["3", "7", "11", "20"]
    assert list(per_class["3"]) == ["name", "tp", "fp", "fn", "iou_sum", "pq", "sq", "rq"]
    for group, members in (("all", ["3", "7", "11", "20"]), ("things", ["3", "7"]), ("stuff", ["11", "20"])):
        for value in ("pq", "sq", "rq"):
            mean = sum(per_class[member][value] for member in members) / len(members)
            assert math.isclose(metrics[value][group], mean, rel_tol=1e-12)
    for key in ("tp", "fp", "fn", "iou_sum"):
        assert math.isclose(sum(c[key] for c in per_class.values()), sum(i[key] for i in per_image.values()))
    assert list(per_image) == ["100", "101", "102"]
    assert metrics["pq"]["all"] != round(metrics["pq"]["all"], 10), "written at full precision"
    assert f"{100 * metrics['pq']['things']:.2f}" in capsys.readouterr().out


def test_an_empty_group_is_null(tmp_path: Path) -> None:
    ids = np.full((4, 4), 6, np.int32)
    picture = TinyPicture(1, np.zeros((4, 4, 3), np.uint8), ids, (SegmentLabel(6, 3, False),))
    write_split(tmp_path / "truth", "val", [picture])
    main(_arguments(tmp_path / "truth", tmp_path / "truth", tmp_path / "out"))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["pq"] == {"all": 1.0, "things": 1.0, "stuff": None}
    per_class = json.loads((tmp_path / "out" / "per_class.json").read_text())
    assert per_class["11"] | {"pq": None, "sq": None, "rq": None} == per_class["11"]


def test_an_extra_result_is_a_warning_not_an_error(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "truth" / "annotations" / "panoptic_val.json"
    document = json.loads(truth.read_text())
    document["annotations"].pop(1)
    truth.write_text(json.dumps(document))
    main(arguments)
    assert "image ids 101" in capsys.readouterr().err
    assert list(json.loads((tmp_path / "out" / "per_image.json").read_text())) == ["100", "102"]


def test_a_fault_ends_the_command_with_status_2_and_nothing_written(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "results" / "annotations" / "panoptic_val" / "000101.png"
    path.write_bytes(path.read_bytes()[:-20])
    command = [sys.executable, "-m", "stages.evaluate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "000101.png: the PNG is cut short" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
