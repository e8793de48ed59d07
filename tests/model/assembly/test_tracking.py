"""Tracking: ids hold through motion, crossings, gaps and changes of category."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from model.assembly.tracking import Box, Mask, TrackingSettings, Tracks, follow

SIZE = (30, 100)


@dataclass(frozen=True)
class Seen:
    """A square thing, or stuff; `look` is the direction of its query, None for a network without queries."""

    id: int
    box: Box
    category_id: int = 1
    is_thing: bool = True
    look: int | None = 0

    @property
    def embedding(self) -> npt.NDArray[np.float32] | None:
        return None if self.look is None else 5 * np.eye(4, dtype=np.float32)[self.look]


def square(segment_id: int, left: int, look: int | None = 0, category: int = 1) -> Seen:
    return Seen(segment_id, (left, 10, 8, 8), category, look=look)


def track(frames: Sequence[Sequence[Seen]], settings: TrackingSettings | None = None) -> list[dict[int, int]]:
    """The ids of the tracks in every frame, by those of the segments."""
    tracks, found = Tracks(), []
    for segments in frames:
        ids = np.zeros(SIZE, np.int32)
        for segment in segments:
            left, top, width, height = segment.box
            ids[top : top + height, left : left + width] = segment.id
        tracks, assigned = follow(tracks, ids, segments, settings or TrackingSettings())
        found.append(dict(assigned))
    return found


def test_ids_follow_motion_whatever_the_segments_are_numbered() -> None:
    frames = [[square(1 + i % 2, 3 * i, 0), square(2 - i % 2, 40 + 3 * i, 1)] for i in range(8)]
    found = track(frames)
    assert [[ids[segment.id] for segment in frame] for ids, frame in zip(found, frames, strict=True)] == [[1, 2]] * 8


def test_two_that_cross_keep_their_ids_by_their_queries() -> None:
    """They come together and part again: by masks alone, and with motion, they could have passed each other."""
    steps = [0, 6, 12, 16, 12, 6, 0]
    frames = [[square(1, 20 + step, 0), square(2, 60 - step, 1)] for step in steps]
    assert track(frames) == [{1: 1, 2: 2}] * len(frames)


@pytest.mark.parametrize(("gap", "kept"), [(1, True), (3, True), (4, False)])
def test_a_hidden_thing_is_known_again_for_some_frames(gap: int, kept: bool) -> None:
    found = track([[square(1, 20)], *([[]] * gap), [square(1, 21)]], TrackingSettings(keep=3))
    assert found[-1] == {1: 1 if kept else 2}


def test_a_fast_thing_is_found_where_it_should_be_by_now() -> None:
    """Masks of successive frames do not meet, and there are no queries."""
    frames = [[square(1, left, None)] for left in (0, 4, 10, 18, 27, 36, 45, 54)]
    assert track(frames, TrackingSettings(least=0.05)) == [{1: 1}] * 8


def test_a_thing_that_is_new_gets_a_new_id() -> None:
    assert track([[square(1, 20, 0)], [square(1, 70, 1)]]) == [{1: 1}, {1: 2}]
    assert track([[square(1, 20, None)], [square(1, 70, None)]]) == [{1: 1}, {1: 2}]


def test_a_change_of_category_keeps_the_id_unless_settings_forbid_it() -> None:
    frames = [[square(1, 20)], [square(1, 21, category=2)], [square(1, 22)]]
    assert track(frames) == [{1: 1}] * 3
    assert track(frames, TrackingSettings(other_category=9)) == [{1: 1}, {1: 2}, {1: 1}]


def test_stuff_has_one_track_a_category_forever() -> None:
    sky, sea = Seen(1, (0, 0, 5, 5), 7, is_thing=False), Seen(2, (50, 0, 5, 5), 8, is_thing=False)
    moved = replace(sky, box=(80, 20, 5, 5), look=1)
    settings = TrackingSettings(keep=1)
    assert track([[sky, sea], [sea], [], [], [moved]], settings) == [{1: 1, 2: 2}, {2: 2}, {}, {}, {1: 1}]


def test_iou_of_masks_in_their_boxes_is_that_of_whole_masks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        maps, masks = [], []
        for _ in range(2):
            left, top = int(rng.integers(60)), int(rng.integers(15))
            width, height = int(rng.integers(5, 40)), int(rng.integers(3, 15))
            ids = np.zeros(SIZE, np.int32)
            ids[top : top + height, left : left + width] = rng.random((height, width)) < 0.7
            maps.append(ids > 0)
            masks.append(Mask.of(ids, Seen(1, (left, top, width, height))))
        expected = (maps[0] & maps[1]).sum() / max(1, (maps[0] | maps[1]).sum())
        assert masks[0].iou(masks[1]) == pytest.approx(expected)
        assert masks[0].moved(np.array([200.0, 0.0])).iou(masks[1]) == 0
