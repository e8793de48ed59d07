"""IDF1 by its definition, and drawn videos."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from benchmarks.tracking.__main__ import METHODS, PredictedFrame, Seen, score_best, score_tracks
from benchmarks.tracking.drawn_video import SIDE, draw_video
from benchmarks.tracking.identity import assigned_f1, id_f1
from panoptic.format.segments import measure_segments


@pytest.mark.parametrize("seed", range(20))
def test_identities_are_assigned_as_well_as_by_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    agreeing = rng.integers(0, 9, (int(rng.integers(1, 5)), 4))
    pairs = Counter({(r, c): int(agreeing[r, c]) for r, c in np.ndindex(*agreeing.shape)})
    gt, predicted = Counter(dict(enumerate([40] * len(agreeing)))), Counter(dict(enumerate([30] * 4)))
    best = max(sum(agreeing[r, c] for r, c in enumerate(chosen)) for chosen in permutations(range(4), len(agreeing)))
    assert assigned_f1(pairs, gt, predicted) == pytest.approx(2 * best / (40 * len(agreeing) + 120))


def test_idf1_of_a_switch_halfway() -> None:
    """One true track of four frames, followed by two of two frames each: 2 x 2 / (4 + 4)."""
    true = np.ones((4, 4), np.int32)
    assert id_f1([(true, true * track) for track in (5, 5, 6, 6)]) == 0.5
    assert id_f1([(true, true * 5)] * 4) == 1
    assert id_f1([(true, true * 0)] * 4) == 0
    assert id_f1([(true * 0, true * 0)]) == 1


def test_detections_agree_from_an_iou_of_a_half() -> None:
    true, half, less = (np.zeros((1, 8), np.int32) for _ in range(3))
    true[0, :4], half[0, :2], less[0, :1] = 1, 1, 1
    assert (id_f1([(true, half)]), id_f1([(true, less)])) == (1, 0)


def test_videos_are_the_same_every_time_and_things_move() -> None:
    first, again = (list(draw_video(2, frames=4)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.things, other.things)
        assert one.image.shape == (SIDE, SIDE, 3)
    assert (first[0].things != first[-1].things).any()
    assert first[0].things.any()


def test_perfect_segments_with_random_queries_are_followed() -> None:
    """True things with noisy queries of their own score as well as possible; the IoU of masks loses some."""
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(7, 16))
    frames = []
    for frame in draw_video(1, frames=24):
        found = {key: extent for key, extent in measure_segments(frame.things).items() if rng.random() < 0.8}
        ids = np.zeros_like(frame.things)
        segments = []
        for new, (key, extent) in enumerate(found.items(), 1):
            ids[frame.things == key] = new
            look = (looks[key] + 0.3 * rng.normal(size=16)).astype(np.float32)
            segments.append(Seen(new, 1, True, extent.box_xywh, look))
        frames.append(PredictedFrame(frame.things, ids, segments))
    best = score_best(frames)
    assert score_tracks(frames, METHODS["IoU and queries"]) == pytest.approx(best)
    assert score_tracks(frames, METHODS["IoU"]) <= best
