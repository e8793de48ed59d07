"""PQ by the size of segments, by hand and as parts of PQ."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic.evaluation.bootstrap import bootstrap_intervals
from panoptic.evaluation.image import ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import METRICS, ClassQuality, ScoreCounter, count_image
from panoptic.evaluation.sizes import SIZE_METRICS, SIZES, count_sizes, segments_by_size, size_of, with_sizes
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from stages.evaluate import main
from tests.stages.evaluation_files import write_evaluation
from tests.tiny_dataset import CATEGORIES, STUFF, THINGS, random_image

TABLE = CategoryTable.from_json(CATEGORIES, "test")
SETTINGS = ScoringSettings(boundary_ratio=0)
BALL, STAR = THINGS
SKY = STUFF[0]


@pytest.mark.parametrize(
    ("area", "size"), [(1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large"), (640 * 480, "large")]
)
def test_limits_are_those_of_coco_in_images_of_640_by_480(area: int, size: str) -> None:
    assert size_of(area, 640 * 480) == size


def test_limits_are_in_proportion_to_the_image() -> None:
    # 160 x 128, a fifteenth of 640 x 480: 32 x 32 / 15 = 68.3 and 96 x 96 / 15 = 614.4.
    assert [size_of(area, 160 * 128) for area in (68, 69, 614, 615)] == ["small", "medium", "medium", "large"]


def test_counts_by_hand() -> None:
    """A large sky, a medium ball that is found half, a small one that is missed, and a small prediction of nothing."""
    gt, found = np.full((60, 60), 1, np.int32), np.full((60, 60), 1, np.int32)  # small below 12 pixels, large from 108
    gt[:10, :10], found[:8, :10] = 2, 2  # 100 pixels, of which 80 are found
    gt[20:23, :3] = 3  # 9 pixels
    found[40:42, :5] = 4  # 10 pixels
    sky = SegmentLabel(1, SKY, False)
    balls = [SegmentLabel(name, BALL, False) for name in (2, 3)]
    predicted = [sky, balls[0], SegmentLabel(4, STAR, False)]
    evaluation = evaluate_image(SegmentedImage(gt, [sky, *balls]), SegmentedImage(found, predicted), SETTINGS)
    sky_iou = (3600 - 109 - 10) / (3600 - 109 + 9 + 20)
    assert count_sizes(evaluation) == {
        "pq_small": {BALL: ClassQuality(fn=1), STAR: ClassQuality(fp=1)},
        "pq_medium": {BALL: ClassQuality(tp=1, iou_sum=0.8)},
        "pq_large": {SKY: ClassQuality(tp=1, iou_sum=sky_iou)},
    }
    counter = ScoreCounter(TABLE, SETTINGS)
    counter.add(count_image(evaluation))
    scores = with_sizes(counter.result(), [count_sizes(evaluation)])
    assert scores.average("pq_small") == 0
    assert scores.average("pq_medium") == scores.average("sq_medium") == pytest.approx(0.8)
    assert scores.average("rq_medium", "things") == 1
    assert scores.average("pq_medium", "stuff") is None, "no stuff has this size"
    assert segments_by_size(scores) == {
        "small": {"all": 1, "things": 1, "stuff": 0},
        "medium": {"all": 1, "things": 1, "stuff": 0},
        "large": {"all": 1, "things": 0, "stuff": 1},
    }
    assert scores.average("pq_large") == pytest.approx(sky_iou)


@pytest.mark.parametrize("seed", range(8))
def test_counts_of_all_sizes_add_up_to_those_of_pq(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = random_image(rng, 1, side=int(rng.integers(2, 12)))
    ids = np.roll(image.ids, 1, axis=1)
    predicted = [replace(segment, is_crowd=False) for segment in image.segments if rng.random() < 0.8]
    ids[~np.isin(ids, [segment.id for segment in predicted])] = 0
    predicted = [segment for segment in predicted if np.any(ids == segment.id)]
    sides = SegmentedImage(image.ids, image.segments), SegmentedImage(ids, predicted)
    evaluation = evaluate_image(*sides, SETTINGS)
    by_size = count_sizes(evaluation)
    for category_id, total in count_image(evaluation)["pq"].items():
        found = ClassQuality()
        for counts in by_size.values():
            part = counts.get(category_id, ClassQuality())
            assert isinstance(part, ClassQuality)
            found += part
        assert isinstance(total, ClassQuality)
        assert (found.tp, found.fp, found.fn) == (total.tp, total.fp, total.fn)
        assert found.iou_sum == pytest.approx(total.iou_sum)


def test_the_command_writes_averages_and_intervals_and_leaves_all_other_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(write_evaluation(tmp_path))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    names = [f"{name}_{size}" for size in SIZES for name in ("pq", "sq", "rq")]
    assert [name for name in metrics if name.endswith(SIZES)] == names
    assert not any(size in capsys.readouterr().out for size in SIZES), "the printed table is as it was"
    for name in names:
        for group, value in metrics[name].items():
            limits = metrics["intervals"][name][group]
            assert (value is None) == (limits is None)
            assert value is None or 0 <= limits["low"] <= limits["high"] <= 1
    assert any(value for name in names for value in metrics[name].values())


def test_intervals_of_pq_do_not_depend_on_those_by_size() -> None:
    rng = np.random.default_rng(5)
    images = []
    for number in range(6):
        image = random_image(rng, number)
        predicted = [replace(segment, is_crowd=False) for segment in image.segments]
        sides = SegmentedImage(image.ids, image.segments), SegmentedImage(np.roll(image.ids, 1, axis=0), predicted)
        evaluation = evaluate_image(*sides, SETTINGS)
        images.append({**count_image(evaluation), **count_sizes(evaluation)})
    alone, both = (
        bootstrap_intervals(images, metrics, TABLE, 50) for metrics in (METRICS[:1], METRICS[:1] + SIZE_METRICS)
    )
    assert {name: both[name] for name in alone} == alone
