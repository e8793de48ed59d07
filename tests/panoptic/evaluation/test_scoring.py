"""Scoring files against files: the same number from folder or zip and any number of workers; every issue named."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.datasets.coco import build_index
from panoptic.evaluation import scores
from panoptic.evaluation.bootstrap import bootstrap_intervals
from panoptic.evaluation.dataset import FileScores, PanopticFiles, PanopticGroundTruth, WrongArea, score_results
from panoptic.evaluation.image import Candidates, ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.panoptic_quality import match_overlaps
from panoptic.evaluation.report import format_table, metrics_to_json, per_class_to_json, per_image_to_json
from panoptic.evaluation.scores import (
    METRICS,
    ClassQuality,
    CountMetric,
    ImageCounts,
    ScoreCounter,
    count_by_class,
    count_image,
    ratio,
)
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.format.image_id import ImageId
from panoptic.format.segments import SegmentLabel
from panoptic.io.errors import DatasetError
from panoptic.robustness.summary import measures
from tests.tiny_dataset import CATEGORIES, TinyImage, random_images, write_split


def _moved(image: TinyImage) -> TinyImage:
    """A result for an image: its segments one pixel to the right, none of them crowd."""
    ids = np.roll(image.ids, 1, axis=1)
    segments = tuple(SegmentLabel(segment.id, segment.category_id, False) for segment in image.segments)
    return TinyImage(image.image_id, image.image, ids, segments)


GT_IMAGES = random_images(seed=8, count=6)
RESULTS = [_moved(image) for image in GT_IMAGES]
SETTINGS = ScoringSettings()


@pytest.fixture
def ground_truth(tmp_path: Path) -> PanopticFiles:
    split = write_split(tmp_path / "ground_truth", "val", GT_IMAGES)
    return PanopticFiles(split.panoptic_json, split.masks)


@pytest.fixture
def results(tmp_path: Path) -> PanopticFiles:
    split = write_split(tmp_path / "results", "val", RESULTS)
    return PanopticFiles(split.panoptic_json, split.masks)


def _score(
    ground_truth: PanopticFiles,
    results: PanopticFiles,
    settings: ScoringSettings,
    workers: int = 0,
    candidates: Mapping[ImageId, Candidates] | None = None,
) -> FileScores:
    return score_results(
        PanopticGroundTruth.from_files(ground_truth), results, settings, workers, candidates=candidates
    )


def _count(
    image: TinyImage, ids: NDArray[np.int32], segments: Sequence[SegmentLabel], settings: ScoringSettings
) -> ImageCounts:
    sides = SegmentedImage(image.ids, image.segments), SegmentedImage(ids, segments)
    return count_image(evaluate_image(*sides, settings))


def _edit(files: PanopticFiles, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> None:
    document = json.loads(files.panoptic_json.read_text())
    change(document)
    files.panoptic_json.write_text(json.dumps(document))


def test_files_score_as_their_arrays_do(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    found = _score(ground_truth, results, SETTINGS)
    counter = ScoreCounter(found.scores.categories, SETTINGS)
    for gt, result in zip(GT_IMAGES, RESULTS, strict=True):
        counts = _count(gt, result.ids, result.segments, SETTINGS)
        counter.add(counts)
        assert found.per_image[gt.image_id] == counts
    assert found.scores == counter.result()
    assert 0 < (found.scores.average("pq") or 0) < 1


def test_ground_truth_against_itself_is_exactly_one(ground_truth: PanopticFiles) -> None:
    scores = _score(ground_truth, ground_truth, SETTINGS).scores
    averages = [groups for metric in METRICS for groups in scores.averages(metric).values()]
    assert averages == [{"all": 1.0, "things": 1.0, "stuff": 1.0}] * len(averages)
    assert len(averages) >= len(METRICS)


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_a_ratio_that_is_not_a_fraction_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="give a fraction of the diagonal"):
        ScoringSettings(boundary_ratio=ratio)


def test_zip_files_workers_and_order_change_nothing(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    expected = _score(ground_truth, results, SETTINGS)
    _edit(results, lambda document: document["annotations"].reverse())
    zipped_gt, zipped_results = (
        PanopticFiles(files.panoptic_json, Path(shutil.make_archive(str(files.masks), "zip", files.masks)))
        for files in (ground_truth, results)
    )
    assert _score(zipped_gt, zipped_results, SETTINGS) == expected
    assert _score(zipped_gt, zipped_results, SETTINGS, workers=2) == expected


def test_the_index_of_the_ground_truth_gives_the_same(
    ground_truth: PanopticFiles, results: PanopticFiles, tmp_path: Path
) -> None:
    split = write_split(tmp_path / "indexed", "val", GT_IMAGES)
    build_index(split.panoptic_json, split.masks, split.images).save(tmp_path / "val.index")
    indexed = PanopticGroundTruth.from_index(tmp_path / "val.index")
    assert score_results(indexed, results, SETTINGS) == _score(ground_truth, results, SETTINGS)


def test_results_need_neither_images_nor_categories(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    expected = _score(ground_truth, results, SETTINGS)
    _edit(results, lambda document: [document.pop("images"), document.pop("categories")])
    assert _score(ground_truth, results, SETTINGS) == expected


def test_results_without_ground_truth_are_ignored_by_name(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    expected = _score(ground_truth, results, SETTINGS)
    _edit(
        results,
        lambda document: document["annotations"].insert(
            1, {"image_id": 5, "file_name": "none.png", "segments_info": []}
        ),
    )
    found = _score(ground_truth, results, SETTINGS)
    assert found.ignored == (5,)
    assert found.scores == expected.scores


def test_a_missing_result_may_count_as_all_void(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    _edit(results, lambda document: document.update(annotations=document["annotations"][3:]))
    settings = ScoringSettings(missing_as_empty=True)
    found = _score(ground_truth, results, settings)
    assert found.empty == (100, 101, 102)
    for gt in GT_IMAGES[:3]:
        assert found.per_image[gt.image_id] == _count(gt, np.zeros_like(gt.ids), (), settings)
    _edit(results, lambda document: document.update(annotations=[]))
    scores = _score(ground_truth, results, settings).scores
    assert (scores.average("pq"), scores.average("miou")) == (0.0, 0.0)


def _list_areas(files: PanopticFiles, added: dict[int, int]) -> None:
    """Write into the JSON the area of each segment, and something more for some."""

    def change(document: dict[str, list[dict[str, object]]]) -> None:
        for annotation, image in zip(document["annotations"], GT_IMAGES, strict=True):
            for segment in _segments({"annotations": [annotation]}):
                name = segment["id"]
                assert isinstance(name, int)
                segment["area"] = int((image.ids == name).sum()) + added.get(name, 0)

    _edit(files, change)


def test_areas_that_differ_from_the_pixels_are_named(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    _list_areas(ground_truth, {})
    expected = _score(ground_truth, results, SETTINGS)
    assert expected.wrong_areas == ()
    image, segment = GT_IMAGES[2], GT_IMAGES[2].segments[1]
    _list_areas(ground_truth, {segment.id: 7})
    found = _score(ground_truth, results, SETTINGS)
    counted = int((image.ids == segment.id).sum())
    assert found.wrong_areas == (WrongArea(image.image_id, segment.id, counted + 7, counted),)
    assert found.scores == expected.scores
    public = ScoringSettings(panopticapi=True)
    assert _score(ground_truth, results, public).scores != expected.scores


def test_panopticapi_counts_what_is_listed_and_not_drawn_as_missed(
    ground_truth: PanopticFiles, results: PanopticFiles
) -> None:
    _list_areas(ground_truth, {})
    public = ScoringSettings(panopticapi=True)
    before = _score(ground_truth, results, public).scores.sums["pq"][7]
    _edit(ground_truth, lambda d: _segments(d).append({"id": 5, "category_id": 7, "iscrowd": 0, "area": 9}))
    after = _score(ground_truth, results, public).scores.sums["pq"][7]
    assert after == before + ClassQuality(fn=1)
    with pytest.raises(DatasetError, match="id 5 is listed in 'segments_info' but not drawn"):
        _score(ground_truth, results, SETTINGS)
    _edit(ground_truth, lambda d: _segments(d)[0].update(area="many"))
    with pytest.raises(DatasetError, match=r"000100\.png: segment \d+ has no 'area'"):
        _score(ground_truth, results, public)


def test_the_error_breakdown_is_given_on_request(ground_truth: PanopticFiles, results: PanopticFiles) -> None:
    assert _score(ground_truth, results, SETTINGS).error_breakdown is None
    found = _score(ground_truth, results, SETTINGS, candidates={})
    assert found.error_breakdown is not None
    for category_id, quality in found.scores.sums["pq"].items():
        assert found.error_breakdown.classes[category_id].present == quality
    assert _score(ground_truth, results, SETTINGS, candidates={}, workers=2).error_breakdown == found.error_breakdown


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


ISSUES: dict[str, tuple[Callable[[PanopticFiles], object], str]] = {
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
    "image twice": (
        lambda files: _edit(files, lambda d: d["annotations"].append(d["annotations"][0])),
        r"results.*val\.json.*image id 100 is annotated twice",
    ),
    "missing result": (
        lambda files: _edit(files, lambda d: d["annotations"].pop(2)),
        r"results.*val\.json: no result for 1 of 6 images \(image ids 102\)",
    ),
    "other categories": (
        lambda files: _edit(files, lambda d: d["categories"][2].update(name="cube")),
        r"results.*val\.json: other categories.*'cube' instead of 'ball'",
    ),
}


@pytest.mark.parametrize("issue", ISSUES)
def test_an_issue_is_named(ground_truth: PanopticFiles, results: PanopticFiles, issue: str) -> None:
    spoil, message = ISSUES[issue]
    spoil(results)
    with pytest.raises(DatasetError, match=message):
        _score(ground_truth, results, SETTINGS)


def test_issues_of_both_sides_and_all_workers_are_collected(
    ground_truth: PanopticFiles, results: PanopticFiles
) -> None:
    (results.masks / "000101.png").unlink()
    (ground_truth.masks / "000105.png").unlink()
    for workers in (0, 2):
        with pytest.raises(DatasetError, match=r"2 issues(.|\n)*000101\.png(.|\n)*000105\.png"):
            _score(ground_truth, results, SETTINGS, workers=workers)


def test_a_metric_that_is_declared_appears_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segment recall, from the counts of PQ: one entry of METRICS, and nothing else changes."""
    recall = CountMetric(
        "recall",
        ClassQuality(),
        lambda evaluation: count_by_class(evaluation.matching),
        lambda counts: {"recall": ratio(counts["tp"], counts["tp"] + counts["fn"])},
        titles=("recall",),
        section="recall",
    )
    monkeypatch.setattr(scores, "METRICS", (*METRICS, recall))
    images: dict[ImageId, ImageCounts] = {
        gt.image_id: _count(gt, result.ids, result.segments, SETTINGS)
        for gt, result in zip(GT_IMAGES, RESULTS, strict=True)
    }
    counter = ScoreCounter(CategoryTable.from_json(CATEGORIES), SETTINGS)
    for image in images.values():
        counter.add(image)
    result = counter.result()
    intervals = bootstrap_intervals(list(images.values()), result.metrics, result.categories, resamples=5)
    assert intervals["recall"]["things"] is not None
    assert result.average("recall") == measures(result)["recall"]["all"]
    assert metrics_to_json(result, {}, {})["recall"] == measures(result)["recall"]
    ball = result.sums["pq"][3]
    assert isinstance(ball, ClassQuality)
    document = per_class_to_json(result, {})["3"]
    assert isinstance(document, dict)
    assert document["recall"] == asdict(ball) | {"recall": ball.tp / (ball.tp + ball.fn)}
    listed = per_image_to_json(result, images)["100"]
    assert isinstance(listed, dict)
    assert listed["recall"] == {name: listed[name] for name in ("tp", "fp", "fn", "iou_sum", "classes")}
    assert "recall  classes" in format_table(result, {}, intervals, len(images))


def test_an_image_is_matched_once_whatever_is_read_of_it(
    ground_truth: PanopticFiles, results: PanopticFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Mock(wraps=match_overlaps)
    monkeypatch.setattr("panoptic.evaluation.image.match_overlaps", spy)
    assert _score(ground_truth, results, SETTINGS, candidates={}).error_breakdown is not None
    assert spy.call_count == len(GT_IMAGES)
