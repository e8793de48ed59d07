"""Scoring files against files: the same number from folder or zip and any number of workers; every fault named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.coco import build_index
from panoptic.evaluation.dataset import Candidates, FileScores, PanopticFiles, PanopticTruth, score_results
from panoptic.evaluation.image import WrongArea
from panoptic.evaluation.panoptic_quality import ClassQuality
from panoptic.evaluation.scores import ScoreCounter, ScoringSettings, score_picture
from panoptic.format.id_map import encode_id_map
from panoptic.format.segments import SegmentLabel
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import TinyPicture, random_pictures, write_split


def _moved(picture: TinyPicture) -> TinyPicture:
    """A result for a picture: its segments one pixel to the right, none of them crowd."""
    ids = np.roll(picture.ids, 1, axis=1)
    segments = tuple(SegmentLabel(segment.id, segment.category_id, False) for segment in picture.segments)
    return TinyPicture(picture.image_id, picture.image, ids, segments)


TRUE_PICTURES = random_pictures(seed=8, count=6)
RESULTS = [_moved(picture) for picture in TRUE_PICTURES]
SETTINGS = ScoringSettings()


@pytest.fixture
def truth(tmp_path: Path) -> PanopticFiles:
    split = write_split(tmp_path / "truth", "val", TRUE_PICTURES)
    return PanopticFiles(split.panoptic_json, split.masks)


@pytest.fixture
def results(tmp_path: Path) -> PanopticFiles:
    split = write_split(tmp_path / "results", "val", RESULTS)
    return PanopticFiles(split.panoptic_json, split.masks)


def _score(
    truth: PanopticFiles,
    results: PanopticFiles,
    settings: ScoringSettings,
    workers: int = 0,
    candidates: Candidates | None = None,
) -> FileScores:
    return score_results(PanopticTruth.from_files(truth), results, settings, workers, candidates=candidates)


def _edit(files: PanopticFiles, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> None:
    document = json.loads(files.panoptic_json.read_text())
    change(document)
    files.panoptic_json.write_text(json.dumps(document))


def test_files_give_what_the_arrays_give(truth: PanopticFiles, results: PanopticFiles) -> None:
    found = _score(truth, results, SETTINGS)
    counter = ScoreCounter(found.scores.categories, SETTINGS)
    for true, result in zip(TRUE_PICTURES, RESULTS, strict=True):
        score = score_picture(true.ids, true.segments, result.ids, result.segments, SETTINGS)
        counter.add(score)
        assert found.per_image[true.image_id] == score
    assert found.scores == counter.result()
    assert found.scores.quality.all.pq is not None
    assert 0 < found.scores.quality.all.pq < 1


def test_truth_against_itself_is_exactly_one(truth: PanopticFiles) -> None:
    scores = _score(truth, truth, SETTINGS).scores
    assert scores.boundary_quality is not None
    for quality in (scores.quality, scores.boundary_quality):
        for group in (quality.all, quality.things, quality.stuff):
            assert (group.pq, group.sq, group.rq) == (1.0, 1.0, 1.0)
        assert sum(quality.per_class.values(), ClassQuality()).fn == 0
    assert scores.miou == 1.0


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_a_ratio_that_is_no_share_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="give a share of the diagonal"):
        ScoringSettings(boundary_ratio=ratio)


def test_zip_files_workers_and_order_change_nothing(truth: PanopticFiles, results: PanopticFiles) -> None:
    expected = _score(truth, results, SETTINGS)
    _edit(results, lambda document: document["annotations"].reverse())
    zipped_truth, zipped_results = (
        PanopticFiles(files.panoptic_json, Path(shutil.make_archive(str(files.masks), "zip", files.masks)))
        for files in (truth, results)
    )
    assert _score(zipped_truth, zipped_results, SETTINGS) == expected
    assert _score(zipped_truth, zipped_results, SETTINGS, workers=2) == expected


def test_the_index_of_the_truth_gives_the_same(truth: PanopticFiles, results: PanopticFiles, tmp_path: Path) -> None:
    split = write_split(tmp_path / "indexed", "val", TRUE_PICTURES)
    build_index(split.panoptic_json, split.masks, split.images).save(tmp_path / "val.index")
    indexed = PanopticTruth.from_index(tmp_path / "val.index")
    assert score_results(indexed, results, SETTINGS) == _score(truth, results, SETTINGS)


def test_results_need_neither_images_nor_categories(truth: PanopticFiles, results: PanopticFiles) -> None:
    expected = _score(truth, results, SETTINGS)
    _edit(results, lambda document: [document.pop("images"), document.pop("categories")])
    assert _score(truth, results, SETTINGS) == expected


def test_results_without_ground_truth_are_ignored_by_name(truth: PanopticFiles, results: PanopticFiles) -> None:
    expected = _score(truth, results, SETTINGS)
    _edit(
        results,
        lambda document: document["annotations"].insert(
            1, {"image_id": 5, "file_name": "none.png", "segments_info": []}
        ),
    )
    found = _score(truth, results, SETTINGS)
    assert found.ignored == (5,)
    assert found.scores == expected.scores


def test_a_missing_result_may_count_as_all_void(truth: PanopticFiles, results: PanopticFiles) -> None:
    _edit(results, lambda document: document.update(annotations=document["annotations"][3:]))
    settings = ScoringSettings(missing_as_empty=True)
    found = _score(truth, results, settings)
    assert found.empty == (100, 101, 102)
    for true in TRUE_PICTURES[:3]:
        assert found.per_image[true.image_id] == score_picture(
            true.ids, true.segments, np.zeros_like(true.ids), (), settings
        )
    _edit(results, lambda document: document.update(annotations=[]))
    scores = _score(truth, results, settings).scores
    assert (scores.quality.all.pq, scores.miou) == (0.0, 0.0)


def _list_areas(files: PanopticFiles, added: dict[int, int]) -> None:
    """Write into the JSON the area of each segment, and something more for some."""

    def change(document: dict[str, list[dict[str, object]]]) -> None:
        for annotation, picture in zip(document["annotations"], TRUE_PICTURES, strict=True):
            for segment in _segments({"annotations": [annotation]}):
                name = segment["id"]
                assert isinstance(name, int)
                segment["area"] = int((picture.ids == name).sum()) + added.get(name, 0)

    _edit(files, change)


def test_areas_that_are_not_those_of_the_pixels_are_named(truth: PanopticFiles, results: PanopticFiles) -> None:
    _list_areas(truth, {})
    expected = _score(truth, results, SETTINGS)
    assert expected.wrong_areas == ()
    picture, segment = TRUE_PICTURES[2], TRUE_PICTURES[2].segments[1]
    _list_areas(truth, {segment.id: 7})
    found = _score(truth, results, SETTINGS)
    counted = int((picture.ids == segment.id).sum())
    assert found.wrong_areas == (WrongArea(picture.image_id, segment.id, counted + 7, counted),)
    assert found.scores == expected.scores
    public = ScoringSettings(panopticapi=True)
    assert _score(truth, results, public).scores != expected.scores


def test_panopticapi_counts_what_is_listed_and_not_drawn_as_missed(
    truth: PanopticFiles, results: PanopticFiles
) -> None:
    _list_areas(truth, {})
    public = ScoringSettings(panopticapi=True)
    before = _score(truth, results, public).scores.quality.per_class[7]
    _edit(truth, lambda d: _segments(d).append({"id": 5, "category_id": 7, "iscrowd": 0, "area": 9}))
    after = _score(truth, results, public).scores.quality.per_class[7]
    assert after == before + ClassQuality(fn=1)
    with pytest.raises(DatasetError, match="id 5 is listed in 'segments_info' but not drawn"):
        _score(truth, results, SETTINGS)
    _edit(truth, lambda d: _segments(d)[0].update(area="many"))
    with pytest.raises(DatasetError, match=r"000100\.png: segment \d+ has no 'area'"):
        _score(truth, results, public)


def test_an_account_is_given_on_request(truth: PanopticFiles, results: PanopticFiles) -> None:
    assert _score(truth, results, SETTINGS).account is None
    found = _score(truth, results, SETTINGS, candidates={})
    assert found.account is not None
    for category_id, quality in found.scores.quality.per_class.items():
        assert found.account.classes[category_id].present == quality
    assert _score(truth, results, SETTINGS, candidates={}, workers=2).account == found.account


def _draw_unlisted(files: PanopticFiles) -> None:
    ids = RESULTS[0].ids.copy()
    ids[0, 0] = 77
    (files.masks / "000100.png").write_bytes(encode_id_map(ids))


def _enlarge(files: PanopticFiles) -> None:
    (files.masks / "000100.png").write_bytes(encode_id_map(np.pad(RESULTS[0].ids, 1)))


def _truncate(files: PanopticFiles) -> None:
    path = files.masks / "000100.png"
    path.write_bytes(path.read_bytes()[:-30])


def _segments(document: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    segments = document["annotations"][0]["segments_info"]
    assert isinstance(segments, list)
    return segments


FAULTS: dict[str, tuple[Callable[[PanopticFiles], object], str]] = {
    "truncated": (_truncate, r"panoptic_val: 000100\.png: the PNG is cut short"),
    "missing PNG": (lambda files: (files.masks / "000100.png").unlink(), r"000100\.png: the file is missing"),
    "other size": (_enlarge, r"000100\.png: 22 x 30 .* but the ground truth is 20 x 28"),
    "drawn, not listed": (_draw_unlisted, r"000100\.png: id 77 is drawn but not listed"),
    "listed, not drawn": (
        lambda files: _edit(files, lambda d: _segments(d).append({"id": 5, "category_id": 3})),
        r"000100\.png: id 5 is listed in 'segments_info' but not drawn",
    ),
    "listed twice": (
        lambda files: _edit(files, lambda d: _segments(d).append(_segments(d)[0])),
        r"results.*val\.json.*is listed twice",
    ),
    "id 0": (
        lambda files: _edit(files, lambda d: _segments(d).append({"id": 0, "category_id": 3})),
        r"results.*val\.json.*segment id 0 cannot be drawn",
    ),
    "unknown category": (
        lambda files: _edit(files, lambda d: _segments(d)[0].update(category_id=99)),
        r"results.*val\.json.*unknown category 99",
    ),
    "picture twice": (
        lambda files: _edit(files, lambda d: d["annotations"].append(d["annotations"][0])),
        r"results.*val\.json.*image id 100 is annotated twice",
    ),
    "missing result": (
        lambda files: _edit(files, lambda d: d["annotations"].pop(2)),
        r"results.*val\.json: no result for 1 of 6 pictures \(image ids 102\)",
    ),
    "other categories": (
        lambda files: _edit(files, lambda d: d["categories"][2].update(name="cube")),
        r"results.*val\.json: other categories.*'cube' instead of 'ball'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(truth: PanopticFiles, results: PanopticFiles, fault: str) -> None:
    spoil, message = FAULTS[fault]
    spoil(results)
    with pytest.raises(DatasetError, match=message):
        _score(truth, results, SETTINGS)


def test_faults_of_both_sides_and_all_workers_come_together(truth: PanopticFiles, results: PanopticFiles) -> None:
    (results.masks / "000101.png").unlink()
    (truth.masks / "000105.png").unlink()
    for workers in (0, 2):
        with pytest.raises(DatasetError, match=r"2 faults(.|\n)*000101\.png(.|\n)*000105\.png"):
            _score(truth, results, SETTINGS, workers=workers)
