import errno
import json
from pathlib import Path

import numpy as np
import pytest

from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map
from panoptic.format.results import ResultSegment, ResultsWriter, write_results
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES

TABLE = CategoryTable.from_json(CATEGORIES)
IDS = np.array([[0, 1, 1], [300, 300, 1]], np.int32)
SEGMENTS = [ResultSegment(1, 3, score=0.75), ResultSegment(300, 20)]


def _write(folder: Path, *image_ids: int) -> None:
    with write_results(folder / "val.json", folder / "val", TABLE) as results:
        for image_id in image_ids:
            results.add(image_id, f"{image_id}.png", IDS, SEGMENTS)


def test_results_are_in_the_public_format(tmp_path: Path) -> None:
    _write(tmp_path, 4, 2)
    document = json.loads((tmp_path / "val.json").read_text())
    segments = [{"id": 1, "category_id": 3, "score": 0.75}, {"id": 300, "category_id": 20}]
    assert document["annotations"] == [
        {"image_id": 4, "file_name": "4.png", "segments_info": segments},
        {"image_id": 2, "file_name": "2.png", "segments_info": segments},
    ]
    assert CategoryTable.from_json(document["categories"]) == TABLE
    assert np.array_equal(decode_id_map((tmp_path / "val" / "4.png").read_bytes(), "4.png"), IDS)


def test_new_results_replace_old_ones_and_equal_ones_give_equal_bytes(tmp_path: Path) -> None:
    _write(tmp_path, 1, 2)
    before = (tmp_path / "val.json").read_bytes()
    _write(tmp_path, 3)
    assert [path.name for path in (tmp_path / "val").iterdir()] == ["3.png"]
    _write(tmp_path, 1, 2)
    assert (tmp_path / "val.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val", "val.json"]


def _interrupted(folder: Path, error: BaseException) -> None:
    with write_results(folder / "val.json", folder / "val", TABLE) as results:
        results.add(9, "9.png", IDS, SEGMENTS)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_run_leaves_the_old_results(tmp_path: Path, error: BaseException) -> None:
    _write(tmp_path, 1)
    before = (tmp_path / "val.json").read_bytes()
    with pytest.raises(type(error)):
        _interrupted(tmp_path, error)
    assert (tmp_path / "val.json").read_bytes() == before
    assert [path.name for path in (tmp_path / "val").iterdir()] == ["1.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["val", "val.json"]


@pytest.mark.parametrize(
    ("image_id", "file_name", "segments", "message"),
    [
        (1, "b.png", SEGMENTS, "given twice"),
        (2, "a.png", SEGMENTS, "given twice"),
        (2, "../b.png", SEGMENTS, "leaves the folder"),
        (2, "b.png", SEGMENTS[:1], "id 300 is drawn but not listed"),
        (2, "b.png", [*SEGMENTS, ResultSegment(5, 3)], "id 5 is listed .* but not drawn"),
        (2, "b.png", [SEGMENTS[0], ResultSegment(300, 99)], "unknown category 99"),
    ],
)
def test_wrong_results_are_refused(
    tmp_path: Path, image_id: int, file_name: str, segments: list[ResultSegment], message: str
) -> None:
    writer = ResultsWriter(tmp_path, TABLE)
    writer.add(1, "a.png", IDS, SEGMENTS)
    with pytest.raises(DatasetError, match=message):
        writer.add(image_id, file_name, IDS, segments)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
