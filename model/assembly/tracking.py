"""Steady ids for the segments of successive frames of a video.

Things of a frame are assigned to tracks by the Hungarian method (Kuhn, 1955), as in SORT (Bewley et al., ICIP 2016), at
an affinity that is the mean of two: the IoU of the masks, the track's moved on as it moved before; and the similarity
of the queries, the vectors by which the network found the things. Queries still tell things apart that hide one
another, when masks do not. Networks waver between categories more than between queries, so a thing may change its
category, at a cost; assigning within categories loses it instead. Tracks that have no thing in a frame are kept for
some frames. Stuff has one track a category.

All is a pure function of the tracks so far and a frame, so that equal videos have equal ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Box = tuple[int, int, int, int]
Vector = npt.NDArray[np.float64]


class TrackedSegment(Protocol):
    """The properties of a segment by which it is tracked; `panoptic_segformer.Segment` has them."""

    @property
    def id(self) -> int:
        """The value of its pixels."""

    @property
    def category_id(self) -> int: ...
    @property
    def is_thing(self) -> bool: ...
    @property
    def box(self) -> Box:
        """Left, top, width, height in pixels."""

    @property
    def embedding(self) -> npt.NDArray[np.float32] | None:
        """Vector (C,) of its query."""


@dataclass(frozen=True)
class TrackingSettings:
    """Settings of tracking.

    `appearance`: weight of the queries' similarity, from 0, IoU alone, to 1. `least`: affinity below which a thing
    starts a track of its own. `keep`: frames for which a track without a thing is kept. `memory`: weight of the
    earlier queries of a track against that of the last frame. `floor`: the cosine of two queries that counts as no
    similarity. `other_category`: what the affinity loses if the category changes. `benchmarks.tracking` measures them.
    """

    appearance: float = 0.5
    least: float = 0.2
    keep: int = 30
    memory: float = 0.8
    floor: float = 0.5
    other_category: float = 0.2


@dataclass(frozen=True)
class Mask:
    """The pixels of a segment within its box."""

    box: Box
    pixels: npt.NDArray[np.bool_]  # (height, width) of the box
    area: int

    @classmethod
    def of(cls, ids: npt.NDArray[np.int32], segment: TrackedSegment) -> "Mask":
        """Cut a segment out of a map (H, W)."""
        left, top, width, height = segment.box
        pixels = ids[top : top + height, left : left + width] == segment.id
        return cls(segment.box, pixels, int(pixels.sum()))

    @property
    def center(self) -> Vector:
        """Center of the box: column and row."""
        left, top, width, height = self.box
        return np.array((left + width / 2, top + height / 2))

    def moved(self, by: Vector) -> "Mask":
        """Move it by whole pixels, to the right and down."""
        left, top, width, height = self.box
        return replace(self, box=(left + round(by[0]), top + round(by[1]), width, height))

    def iou(self, other: "Mask") -> float:
        """Intersection over union of two masks."""
        left, top = max(self.box[0], other.box[0]), max(self.box[1], other.box[1])
        right, bottom = (min(self.box[i] + self.box[i + 2], other.box[i] + other.box[i + 2]) for i in (0, 1))
        if left >= right or top >= bottom:
            return 0.0
        both = int((self._within(left, top, right, bottom) & other._within(left, top, right, bottom)).sum())
        return both / (self.area + other.area - both)

    def _within(self, left: int, top: int, right: int, bottom: int) -> npt.NDArray[np.bool_]:
        return self.pixels[top - self.box[1] : bottom - self.box[1], left - self.box[0] : right - self.box[0]]


@dataclass(frozen=True)
class Track:
    """A segment that is followed; `mask` and `missed`, frames since then, are of the frame that it was last seen in."""

    id: int
    category_id: int
    mask: Mask | None  # None for stuff
    query: Vector | None  # of length 1
    velocity: Vector  # pixels per frame, to the right and down
    missed: int = 0


@dataclass(frozen=True)
class Tracks:
    """All tracks that may go on, and the id of the next new one; ids count from 1 in order of appearance."""

    known: tuple[Track, ...] = ()
    next_id: int = 1


def follow(
    tracks: Tracks,
    ids: npt.NDArray[np.int32],
    segments: Sequence[TrackedSegment],
    settings: TrackingSettings = TrackingSettings(),
) -> tuple[Tracks, Mapping[int, int]]:
    """Continue tracks with the segments of the next frame, whose map (H, W) is `ids`.

    Returns:
        The tracks after this frame, and the track's id for every segment's.
    """
    seen = {segment.id: _begin(0, ids, segment) for segment in segments}
    partners = _assign(tracks.known, list(seen.items()), settings)
    next_id, assigned, continued = tracks.next_id, dict[int, int](), list[Track]()
    for segment_id, one in seen.items():
        if segment_id in partners:
            track = _continue(partners[segment_id], one, settings)
        else:
            track, next_id = replace(one, id=next_id), next_id + 1
        assigned[segment_id] = track.id
        continued.append(track)
    taken = set(assigned.values())
    waiting = (replace(track, missed=track.missed + 1) for track in tracks.known if track.id not in taken)
    kept = [track for track in waiting if track.mask is None or track.missed <= settings.keep]
    return Tracks((*kept, *continued), next_id), assigned


def _begin(track_id: int, ids: npt.NDArray[np.int32], segment: TrackedSegment) -> Track:
    mask = Mask.of(ids, segment) if segment.is_thing else None
    return Track(track_id, segment.category_id, mask, _unit(segment.embedding), np.zeros(2))


def _continue(track: Track, seen: Track, settings: TrackingSettings) -> Track:
    """Update a track with its segment in this frame."""
    query = seen.query
    if query is not None and track.query is not None:
        query = _unit(settings.memory * track.query + (1 - settings.memory) * query)
    velocity = track.velocity
    if track.mask and seen.mask:
        moved = (seen.mask.center - track.mask.center) / (track.missed + 1)
        velocity = (track.velocity + moved) / 2
    return replace(seen, id=track.id, query=query, velocity=velocity)


def _assign(tracks: Sequence[Track], seen: Sequence[tuple[int, Track]], settings: TrackingSettings) -> dict[int, Track]:
    """Choose the tracks that go on in this frame, by the ids of the segments."""
    of_stuff = {track.category_id: track for track in tracks if track.mask is None}
    partners = {
        segment_id: of_stuff[one.category_id]
        for segment_id, one in seen
        if one.mask is None and one.category_id in of_stuff
    }
    old = [(track, track.mask.moved(track.velocity * (track.missed + 1))) for track in tracks if track.mask]
    new = [(segment_id, one, one.mask) for segment_id, one in seen if one.mask]
    affinity = _affinity(old, [(one, mask) for _, one, mask in new], settings)
    for index, partner in zip(*linear_sum_assignment(-affinity), strict=True):
        if affinity[index, partner] >= settings.least:
            partners[new[partner][0]] = old[index][0]
    return partners


def _affinity(
    old: Sequence[tuple[Track, Mask]], new: Sequence[tuple[Track, Mask]], settings: TrackingSettings
) -> npt.NDArray[np.float64]:
    """Affinity (tracks, things) of tracks with their masks moved on, and things of a frame."""
    shape = len(old), len(new)
    affinity = _ious([mask for _, mask in old], [mask for _, mask in new])
    queries, others = ([track.query for track, _ in side if track.query is not None] for side in (old, new))
    if 0 < len(queries) == len(old) and 0 < len(others) == len(new):
        cosines = (np.stack(queries) @ np.stack(others).T - settings.floor) / (1 - settings.floor)
        affinity = (1 - settings.appearance) * affinity + settings.appearance * cosines.clip(0)
    categories, its_categories = (np.array([track.category_id for track, _ in side]) for side in (old, new))
    changes: npt.NDArray[np.bool_] = categories[:, None] != its_categories
    return affinity - settings.other_category * changes.reshape(shape)


def _ious(masks: Sequence[Mask], others: Sequence[Mask]) -> npt.NDArray[np.float64]:
    """IoU of all pairs (masks, others); only where the boxes meet, masks are looked at."""
    first, second = (np.array([mask.box for mask in side]).reshape(-1, 4) for side in (masks, others))
    starts = np.maximum(first[:, None, :2], second[None, :, :2])
    ends = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    ious = np.zeros((len(masks), len(others)))
    for row, column in np.argwhere((starts < ends).all(axis=-1)).tolist():
        ious[row, column] = masks[row].iou(others[column])
    return ious


def _unit(vector: npt.NDArray[np.floating] | None) -> Vector | None:
    if vector is None:
        return None
    wide = vector.astype(np.float64)
    return wide / max(float(np.linalg.norm(wide)), 1e-12)
