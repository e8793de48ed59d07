"""Thing preference and stuff precision, the line through them, and curves by layer, worked out by hand."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from model.explanation.curves import CurveName, SegmentFractions, layer_curves
from model.explanation.estimates import Resamples
from model.explanation.parts import has_learned_queries, left_out
from model.explanation.preference import COLUMNS, FoundByQuery, count_findings, fit_lines, preference_of_queries
from model.inference.merging import PredictedSegment
from model.network.config import NetworkConfig
from panoptic.evaluation.image import SegmentedImage
from panoptic.format.segments import SegmentLabel
from tests.model.explanation.observed import NETWORKS, SIZE, observe

JOINT = NETWORKS["joint"]


def image_of(**queries: tuple[int, int, int, int]) -> FoundByQuery:
    return FoundByQuery(
        {int(name[1:]): Counter(dict(zip(COLUMNS, counts, strict=True))) for name, counts in queries.items()}
    )


def test_the_line_is_that_of_least_squares() -> None:
    """A query without stuff that counts is no point, whatever its preference."""
    counts = np.array([[[1, 3, 3, 0], [1, 1, 1, 1], [3, 1, 0, 1], [9, 0, 0, 0], [1, 1, 0, 0]]], np.float64)
    slope, intercept = np.polyfit([0.25, 0.5, 0.75], [1, 0.5, 0], 1)
    np.testing.assert_allclose(fit_lines(counts), [[slope], [intercept]])


def test_preference_and_precision_are_fractions_over_all_images() -> None:
    images = [image_of(q0=(1, 3, 2, 1), q4=(0, 1, 1, 0)), image_of(q0=(2, 2, 2, 0))]
    found = preference_of_queries(images, JOINT, Resamples(2, 100))
    first, second = found.points
    assert (first.query, first.things, first.stuff, first.right, first.wrong) == (0, 3, 5, 4, 1)
    assert (first.preference, first.precision) == (3 / 8, 4 / 5)
    assert (second.query, second.preference, second.precision) == (4, 0, 1)
    assert found.joint
    assert found.learned
    assert found.slope is not None
    assert found.slope.value == pytest.approx((4 / 5 - 1) / (3 / 8))
    assert found.intercept == pytest.approx(1)


def drawn_images(count: int) -> Iterator[FoundByQuery]:
    """Draw images in which the precision of a query is 0.9 less half of its preference."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        queries = {}
        for query in range(8):
            is_thing, is_right = rng.random() < query / 10, rng.random() < 0.9 - 0.5 * query / 10
            queries[f"q{query}"] = (1, 0, 0, 0) if is_thing else (0, 1, int(is_right), int(not is_right))
        yield image_of(**queries)


def test_the_interval_holds_the_slope_of_the_population_and_narrows_with_more_images() -> None:
    widths = []
    for count in (40, 640):
        slope = preference_of_queries(list(drawn_images(count)), JOINT, Resamples(count, 300)).slope
        assert slope is not None
        assert slope.low is not None
        assert slope.high is not None
        assert slope.low < -0.5 < slope.high
        widths.append(slope.high - slope.low)
    assert widths[1] < widths[0] / 2


def test_decoupled_queries_have_no_line() -> None:
    images = [image_of(q0=(2, 0, 0, 0), q7=(0, 1, 1, 0), q8=(0, 1, 0, 1))]
    found = preference_of_queries(images, NETWORKS["decoupled"], Resamples(1, 10))
    assert (found.joint, found.slope, found.intercept) == (False, None, None)
    assert [point.preference for point in found.points] == [1, 0, 0]


def test_findings_of_an_image_count_for_the_queries_that_merging_kept() -> None:
    """Stuff where nothing is labeled is neither right nor wrong."""
    ids = np.repeat(np.array([[1, 2, 3, 4]], np.int32), SIZE[1] // 4, axis=1).repeat(SIZE[0], axis=0)
    labels = [SegmentLabel(1, 1, False), SegmentLabel(2, 4, False), SegmentLabel(3, 5, False)]
    segments = [
        PredictedSegment(1, 0, 0.9, 1, True, 0, query=6),
        PredictedSegment(2, 3, 0.8, 1, False, 1, query=6),
        PredictedSegment(3, 3, 0.7, 1, False, 2, query=2),
        PredictedSegment(4, 4, 0.6, 1, False, 3, query=2),
    ]
    image = observe(JOINT, count=1)[0]
    gt_ids = np.where(ids == 4, 0, ids).astype(np.int32)
    seen = replace(
        image,
        prediction=replace(image.prediction, ids=ids, segments=tuple(segments)),
        ground_truth=SegmentedImage(gt_ids, labels),
    )
    found = count_findings(seen).counts
    assert found[6] == Counter(things=1, stuff=1, right=1)
    assert found[2] == Counter(stuff=2, wrong=1)


def test_curves_are_means_over_segments_of_all_images() -> None:
    name = CurveName("attention", "things")

    def segment(*inside: float) -> SegmentFractions:
        return SegmentFractions(name, ("1", "last"), 0.25, np.array(inside).reshape(2, 2))

    images = [[segment(0, 1, 0.5, 0.5), segment(1, 1, 0, 1)], [], [segment(0.5, 0.5, 0.5, 0.5)]]
    (curve,) = layer_curves(images, Resamples(3, 200))
    assert (curve.part, curve.group, curve.segments, curve.area.value) == (*name, 3, 0.25)
    assert [layer.name for layer in curve.layers] == ["1", "last"]
    assert [layer.inside.value for layer in curve.layers] == pytest.approx([2 / 3, 0.5])
    assert [head.value for head in curve.layers[0].heads] == pytest.approx([0.5, 2.5 / 3])
    first, last = (layer.inside for layer in curve.layers)
    assert (first.low, first.high) == pytest.approx((0.5, 0.75)), "of the third image alone, and of the first alone"
    assert (last.low, last.high) == pytest.approx((0.5, 0.5))


def test_without_resamples_there_are_no_intervals() -> None:
    fractions = [[SegmentFractions(CurveName("attention", "stuff"), ("1",), 0.5, np.ones((1, 1)))]]
    (curve,) = layer_curves(fractions, Resamples(1, 0))
    assert (curve.layers[0].inside.value, curve.layers[0].inside.low) == (1, None)


def test_only_queries_that_start_from_tokens_are_ranks() -> None:
    ranked = NetworkConfig(query_initialization="encoder")
    assert has_learned_queries(NetworkConfig())
    assert not has_learned_queries(ranked)
    assert has_learned_queries(replace(ranked, family="eomt")), "the option is Panoptic SegFormer's alone"


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (NetworkConfig(), []),
        (NetworkConfig(family="maskformer"), ["attention", "early exit", "sampling"]),
        (NetworkConfig(stuff="none"), ["preference"]),
        (NetworkConfig(stuff="joint", attention="dense", mask_head="fpn"), ["attention", "early exit", "sampling"]),
        (NetworkConfig(stuff="joint", mask_head="fpn"), ["attention", "early exit"]),
    ],
)
def test_parts_that_do_not_apply_are_named(config: NetworkConfig, parts: list[str]) -> None:
    assert sorted(left_out(config)) == parts
