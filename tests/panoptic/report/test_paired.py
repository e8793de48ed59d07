"""Differences of two results, computed by hand, and what cannot be compared."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from panoptic.evaluation.bootstrap import Interval
from panoptic.io.errors import DatasetError
from panoptic.report.paired import CountedRun, Difference, compare
from tests.stages.browse_files import TABLE
from tests.tiny_dataset import STUFF, THINGS

BALL, SKY = THINGS[0], STUFF[0]
Found = Mapping[int, tuple[int, int, int, float]]
"""TP, FP, FN and sum of IoU by category id."""
# In the first image the ball is missed, in the second it is found.
FIRST: dict[str, Found] = {"1": {BALL: (0, 0, 1, 0.0), SKY: (1, 0, 0, 0.5)}, "2": {BALL: (1, 0, 0, 0.75)}}


def counted(folder: Path, images: Mapping[str, Found], boundary: bool = True) -> CountedRun:
    """Write counts by image as the stage does, those near boundaries equal to the others, and read them."""
    document: dict[str, object] = {}
    for key, found in images.items():
        names = ("tp", "fp", "fn", "iou_sum")
        classes = {str(category): dict(zip(names, counts, strict=True)) for category, counts in found.items()}
        document[key] = {"classes": classes} | ({"boundary": {"classes": classes}} if boundary else {})
    folder.mkdir()
    (folder / "per_image.json").write_text(json.dumps(document))
    return CountedRun.read(folder / "per_image.json")


def test_differences_by_hand(tmp_path: Path) -> None:
    second: dict[str, Found] = {"1": {BALL: (1, 0, 0, 0.5), SKY: (1, 0, 0, 1.0)}, "2": {BALL: (1, 1, 0, 0.75)}}
    found = compare(counted(tmp_path / "a", FIRST), counted(tmp_path / "b", second), TABLE)
    # PQ of balls: 0.75 / 1.5 before, 1.25 / 2.5 after; of sky 0.5 before, 1 after.
    expected = {"all": 0.25, "things": 0.0, "stuff": 0.5}
    for name in ("pq", "boundary_pq"):
        assert {group: one.value for group, one in found.groups[name].items()} == pytest.approx(expected)
    assert found.groups["rq"]["things"].value == pytest.approx(2 / 2.5 - 1 / 1.5)
    assert found.groups["sq"]["things"].value == pytest.approx(1.25 / 2 - 0.75)
    assert {key: one.value for key, one in found.classes.items()} == {
        BALL: pytest.approx(0.0),
        THINGS[1]: None,
        SKY: pytest.approx(0.5),
        STUFF[1]: None,
    }
    # Within images: means over classes of (0, 0.5) and (0.5, 1); then 0.75 and 0.5.
    assert found.images == pytest.approx({"1": 0.5, "2": 0.75 / 1.5 - 0.75})
    # Sky is in one image, so that it differs by 0.5 in every resample in which it occurs.
    sky = found.classes[SKY]
    assert sky.interval == Interval(0.5, 0.5)
    assert sky.verdict == "higher"
    # Balls: -0.25 if only the second image is drawn, 0.5 if only the first.
    ball = found.classes[BALL]
    assert ball.interval is not None
    assert (ball.interval.low, ball.interval.high) == pytest.approx((-0.25, 0.5))
    assert ball.verdict == ""


def test_what_is_said_of_a_difference() -> None:
    said = {
        Difference(0.2, Interval(0.1, 0.3)): "higher",
        Difference(-0.2, Interval(-0.3, -0.1)): "lower",
        Difference(0.2, Interval(-0.1, 0.3)): "",
        Difference(0.2): "",
        Difference(None): "",
    }
    assert {one: one.verdict for one in said} == said


def test_without_boundaries_in_one_run_they_are_not_compared(tmp_path: Path) -> None:
    found = compare(counted(tmp_path / "a", FIRST), counted(tmp_path / "b", FIRST, boundary=False), TABLE)
    assert set(found.groups) == {"pq", "sq", "rq"}
    assert {one.value for groups in found.groups.values() for one in groups.values()} == {0.0}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"1": FIRST["1"]}, r"b/per_image.json: lacks 1 of the 2 images of .*a/per_image.json \(image ids 2\); score"),
        ({**FIRST, "3": {}}, r"a/per_image.json: lacks 1 of the 3 images of .*b/per_image.json \(image ids 3\); score"),
        (
            {**FIRST, "2": {BALL: (1, 0, 1, 0.75)}},
            rf"b/per_image.json: image 2 has another ground truth .*: 2 segments of class {BALL}, there 1; score",
        ),
    ],
)
def test_other_images_or_other_ground_truth_are_refused(second: dict[str, Found], message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        compare(counted(tmp_path / "a", FIRST), counted(tmp_path / "b", second), TABLE)


def test_a_class_that_nobody_lists_is_refused(tmp_path: Path) -> None:
    images: dict[str, Found] = {"1": {999: (1, 0, 0, 0.75)}}
    with pytest.raises(DatasetError, match=r"a/per_image.json: 1: class 999 is in no list of classes"):
        compare(counted(tmp_path / "a", images), counted(tmp_path / "b", images), TABLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "has no image"),
        ('{"1": {}}', "1: .*'classes'"),
        ('{"1": {"classes": {"sky": {}}}}', "'sky' is no category id"),
        ('{"1": {"classes": {"3": {"tp": 1, "fp": 0, "fn": "no", "iou_sum": 1}}}}', "'fn'"),
    ],
)
def test_damaged_counts_are_an_error_that_names_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "per_image.json"
    path.write_text(text)
    with pytest.raises(DatasetError, match=rf"per_image.json.*{message}"):
        CountedRun.read(path)
