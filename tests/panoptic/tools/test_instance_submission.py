"""A submission of instances: `instances` writes a valid one or nothing, `validate` reports everything wrong with it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from panoptic.instances.detection_json import encode_mask
from panoptic.io.errors import Issues
from panoptic.tools.submission.__main__ import main
from panoptic.tools.submission.container import sort_entries
from tests.panoptic.tools.made_submissions import BALL, SKY, pack, write_image_list
from tests.tiny_dataset import CATEGORIES

STEM = "detections_test-dev2017_tiny_net.2_results"


def result(image_id: int = 11, category_id: int = BALL, score: float = 0.5, height: int = 6) -> dict[str, object]:
    """Make an instance of two pixels; images 11 and 12 have 6 x 8 and 9 x 7 pixels."""
    mask = np.zeros((height, 8 if image_id == 11 else 7), np.bool_)
    mask[1, 2:4] = True
    return {
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": encode_mask(mask),
        "score": score,
        "bbox": [2, 1, 2, 1],
    }


@pytest.fixture
def listed(tmp_path: Path) -> tuple[str, ...]:
    """The options that name images and categories."""
    categories = tmp_path / "categories.json"
    categories.write_text(json.dumps(CATEGORIES))
    return "--images", str(write_image_list(tmp_path / "image_info.json")), "--categories", str(categories)


def make(folder: Path, listed: tuple[str, ...], results: object) -> Path:
    file = folder / "instances.json"
    file.write_text(json.dumps(results))
    name = ("--split", "test-dev2017", "--name", "tiny_net.2", "--out", str(folder / "out"))
    main(("instances", "--instances-json", str(file), *listed, *name))
    return folder / "out" / f"{STEM}.zip"


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_best_hundred_of_each_listed_image_are_written(
    tmp_path: Path, listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [number / 1000 for number in range(103)]
    path = make(tmp_path, listed, [result(99), *(result(score=score) for score in scores)])
    said = capsys.readouterr().out
    assert "1 results belong to images that are not listed and were left out (image ids 99)" in said
    highest = "3 results are not among the 100 with the highest scores of their image and were left out (image ids 11)"
    assert highest in said
    assert "1 of 2 images have no result (image ids 12)" in said
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{STEM}.json"]
        written = json.loads(archive.read(f"{STEM}.json"))
    assert [one["score"] for one in written] == sorted(scores, reverse=True)[:100]
    assert written[0] == {key: value for key, value in result(score=0.102).items() if key != "bbox"}
    main(("validate", str(path), *listed))
    assert "2 images; no issues found" in capsys.readouterr().out


def test_equal_results_give_equal_bytes_whichever_way_their_masks_are_written(
    tmp_path: Path, listed: tuple[str, ...]
) -> None:
    first = make(tmp_path, listed, [result(12, height=9), result()]).read_bytes()
    runs = result() | {"segmentation": {"size": [6, 8], "counts": [13, 1, 5, 1, 28]}}
    assert make(tmp_path, listed, [runs, result(12, height=9)]).read_bytes() == first


@pytest.mark.parametrize(
    ("results", "code", "expected"),
    [
        ([result(99)], 1, "no result for any of 2 images; predict them"),
        ([result(height=5)], 1, "the mask is 5 x 8 (height x width), but the image is 6 x 8"),
        ([result(category_id=SKY)], 1, f"1 results have categories that are no things: {SKY}; use those of the table"),
        ([result() | {"score": None}], 2, "'score' should be a finite number"),
        ([result() | {"image_id": "11"}], 2, "image ids are of another type than in the list of images"),
        ({}, 2, "expected a list of results, found a dict"),
    ],
)
def test_wrong_results_write_nothing(
    tmp_path: Path,
    listed: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    results: object,
    code: int,
    expected: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        make(tmp_path, listed, results)
    assert end.value.code == code
    assert expected in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


def test_all_issues_of_a_zip_are_reported_together(
    tmp_path: Path, listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    results = [*[result()] * 101, result(99), result(12), result() | {"segmentation": {"size": [6, 8], "counts": "1"}}]
    entries = {f"{STEM}.json": json.dumps(results).encode(), f"{STEM}/000011.png": b"", "notes.txt": b""}
    path = pack(tmp_path / f"{STEM}.zip", entries)
    assert status("validate", str(path), *listed) == 1
    message = capsys.readouterr().err
    assert "6 issues found" in message
    for part in (
        "1 entries (notes.txt)",
        "1 PNGs (000011.png) are not instances; remove them",
        f"{STEM}.json: results[103]: segmentation: 'counts' is damaged",
        "1 images with results are not listed (image ids 99)",
        "1 images have more than 100 results (image ids 11)",
        "the mask is 6 x 7 (height x width), but the image is 9 x 7",
    ):
        assert part in message


def test_runs_that_are_not_compressed_are_refused_as_by_the_server(
    tmp_path: Path, listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = result() | {"segmentation": {"size": [6, 8], "counts": [13, 1, 5, 1, 28]}}
    path = pack(tmp_path / f"{STEM}.zip", {f"{STEM}.json": json.dumps([result(12, height=9), runs]).encode()})
    assert status("validate", str(path), *listed) == 1
    assert "results[1]: 'counts' is a list, which the server refuses" in capsys.readouterr().err


def test_the_json_of_all_instances_may_be_larger_than_any_image() -> None:
    """With 100 masks on each of 20 288 images, test-dev can have more than 1 GiB."""
    entry, issues = zipfile.ZipInfo(f"{STEM}.json"), Issues()
    entry.file_size, entry.compress_size, entry.compress_type = 1_400_000_000, 500_000_000, zipfile.ZIP_DEFLATED
    entry.header_offset, entry.CRC = 0, 0
    assert sort_entries([entry], STEM, issues).results is entry
    assert issues.messages == []


def test_a_zip_of_another_name_or_without_results_is_refused(
    tmp_path: Path, listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = pack(tmp_path / "detections_results.zip", {})
    assert status("validate", str(wrong), *listed) == 1
    assert "call it detections_<split>_<algorithm>_results.zip" in capsys.readouterr().err
    shouted = pack(tmp_path / f"{STEM.upper()}.zip", {})
    assert status("validate", str(shouted), *listed) == 1
    assert "call it detections_<split>_<algorithm>_results.zip" in capsys.readouterr().err
    empty = pack(tmp_path / f"{STEM}.zip", {f"{STEM}.json": b"[]"})
    assert status("validate", str(empty), *listed) == 1
    assert "there is no result; predict the images" in capsys.readouterr().err
    missing = pack(tmp_path / f"{STEM}.zip", {"other.json": b"[]"})
    assert status("validate", str(missing), *listed) == 1
    assert f"'{STEM}.json' is missing" in capsys.readouterr().err
