"""Predict an image of many megapixels in overlapping tiles, and join their segments over the seams.

The network sees each tile at the scale that it was trained at, where a whole image would be shrunk until small objects
vanish. Tiles join into a row, and rows into the image, by the same rules. In the overlap of what is there and what
is added:

1. The middle decides: each pixel is labeled by the side that sees more around it, with two exceptions. A thing that one
   side sees whole keeps all its pixels, unless the other side sees a whole thing there too. And a thing that ends at
   the border of one side, without reaching beyond the overlap, is a fragment: the other side sees all of it, and more.
2. Things of the two sides are one if their IoU in the overlap is above 0.5. This is the matching of PQ, by which
   nothing has two partners, so that the order of comparing decides nothing. Stuff is one segment a category, as
   everywhere. On drawn images, joining by containment or by the similarity of queries as well gained nothing.

The score of a segment is the mean of those of its parts, weighted by area; its category and its query are those of the
part with the most area times score.

Besides the map of the image, memory holds the tiles of one batch and the map of one row of tiles.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from model.inference.bit_masks import MapMasks, Size
from model.inference.merging import PredictedSegment
from model.inference.post_processing import Instances, PanopticPrediction
from panoptic.evaluation.overlaps import count_overlaps
from panoptic.format.segments import measure_segments

Ids = npt.NDArray[np.int32]
_FRAGMENT, _PART, _WHOLE = 0, 1, 2  # how much one side of a seam can know about a segment


@dataclass(frozen=True)
class Tiling:
    """Tiles of equal size that cover an image; neighbors overlap."""

    size: Size
    tile: Size
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @classmethod
    def of(cls, size: Size, tile: int, overlap: int) -> "Tiling":
        """Cut an image of `size` into tiles of `tile` x `tile` pixels, or less if the image is smaller.

        Neighbors overlap by `overlap` pixels at least, evenly.

        Raises:
            ValueError: tiles of that size cannot overlap so.
        """
        if not 0 <= overlap < tile:
            raise ValueError(f"a tile of {tile} pixels that overlaps by {overlap}; give 0 <= overlap < tile")
        height, width = (min(side, tile) for side in size)
        return cls(size, (height, width), _starts(size[0], tile, overlap), _starts(size[1], tile, overlap))

    def crops(self, image: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the tiles of an image (H, W, 3), row by row."""
        height, width = self.tile
        for top in self.tops:
            for left in self.lefts:
                yield image[top : top + height, left : left + width]


def _starts(side: int, tile: int, overlap: int) -> tuple[int, ...]:
    count = max(1, -(-(side - overlap) // (tile - overlap)))
    return tuple(np.linspace(0, max(0, side - tile), count).round().astype(int).tolist())


def join_tiles(tiling: Tiling, tiles: Iterable[PanopticPrediction]) -> PanopticPrediction:
    """Join the predictions of the tiles, row by row, into one of the image, with its instances.

    Instances are the things of the map: those that overlapped before merging are known to single tiles only.
    """
    found, remaining = _Found(), iter(tiles)
    ids = np.zeros(tiling.size, np.int32)
    for previous_top, top in _with_previous(tiling.tops):
        row = np.zeros((tiling.tile[0], tiling.size[1]), np.int32)
        for previous_left, left in _with_previous(tiling.lefts):
            _append(row.T, found.add(next(remaining)).T, previous_left, left, found)
        _append(ids, row, previous_top, top, found)
    return found.finish(ids)


def _with_previous(starts: tuple[int, ...]) -> Iterable[tuple[int | None, int]]:
    return zip((None, *starts[:-1]), starts, strict=True)


@dataclass(frozen=True)
class _Part:
    """A segment, joined so far."""

    largest: PredictedSegment
    query: torch.Tensor | None  # (C,) of the largest
    area: int
    weight: float  # sum of area x score

    @property
    def score(self) -> float:
        return self.weight / self.area


class _Found:
    """The segments of all tiles; the ids of a map are their positions in `parts`, where 0 is void."""

    def __init__(self) -> None:
        self.parts: list[_Part | None] = [None]
        self._stuff: dict[int, int] = {}

    def add(self, tile: PanopticPrediction) -> Ids:
        """Add the segments of a tile; return its map with the ids that they have here."""
        table = np.zeros(len(tile.segments) + 1, np.int32)
        for segment in tile.segments:
            query = None if tile.queries is None else tile.queries[segment.candidate].clone()
            new = len(self.parts)
            self.parts.append(_Part(segment, query, segment.area, segment.area * segment.score))
            known = new if segment.is_thing else self._stuff.setdefault(segment.label, new)
            if known != new:
                self.join(known, new)
            table[segment.id] = known
        return table[tile.ids]

    def things(self) -> npt.NDArray[np.bool_]:
        """Tell which ids are things."""
        return np.array([part is not None and part.largest.is_thing for part in self.parts])

    def join(self, known: int, new: int) -> None:
        """Make one segment of two, under the id of the first."""
        first, second = self.parts[known], self.parts[new]
        assert first
        assert second
        larger = max(first, second, key=lambda part: part.largest.area * part.largest.score)
        joined = _Part(larger.largest, larger.query, first.area + second.area, first.weight + second.weight)
        self.parts[known], self.parts[new] = joined, None

    def finish(self, ids: Ids) -> PanopticPrediction:
        """Number the segments that have pixels by score, also in the map, and describe them."""
        areas = np.zeros(len(self.parts), np.int64)
        for row in ids:  # all at once would take twice the memory of the map
            areas += np.bincount(row, minlength=len(self.parts))
        kept = [(index, part) for index, part in enumerate(self.parts) if part and areas[index]]
        kept.sort(key=lambda pair: -pair[1].score)
        table = np.zeros(len(self.parts), np.int32)
        segments = []
        for new, (index, part) in enumerate(kept):
            table[index] = new + 1
            area = int(areas[index])
            segments.append(replace(part.largest, id=new + 1, score=part.score, area=area, candidate=new))
        for row in ids:
            row[:] = table[row]
        queries = [part.query for _, part in kept if part.query is not None]
        instances = instances_of(ids, segments)
        return PanopticPrediction(ids, tuple(segments), instances, torch.stack(queries) if queries else None)


def instances_of(ids: Ids, segments: Sequence[PredictedSegment]) -> Instances:
    """Return the things of a map as instances, whose masks are made on request."""
    things = [segment for segment in segments if segment.is_thing]
    extents = measure_segments(ids)
    boxes = np.array([extents[thing.id].box_xywh for thing in things], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Instances(
        MapMasks(ids, np.array([thing.id for thing in things], np.int32)),
        boxes,
        np.array([thing.label for thing in things], np.int64),
        np.array([thing.score for thing in things], np.float32),
    )


def _append(canvas: Ids, piece: Ids, previous: int | None, start: int, found: _Found) -> None:
    """Add rows to a map from row `start` on, where those that were added last began at row `previous`."""
    end = start if previous is None else previous + len(piece)
    overlap = end - start
    if previous is not None and overlap:
        things = found.things()
        seen = _Side(canvas[previous:end], canvas[start:end], canvas[end - 1], things)
        added = _Side(piece, piece[:overlap], piece[0], things)
        table = np.arange(len(things), dtype=np.int32)
        for known, new in _matches(seen, added):
            found.join(known, new)
            table[new] = known
        canvas[start:end] = _resolved(seen, added, table)
    canvas[end : start + len(piece)] = (table[piece] if overlap else piece)[overlap:]


class _Side:
    """One side of a seam: its map of the overlap, and how much of each segment there it can see."""

    def __init__(self, ids: Ids, overlap: Ids, border: Ids, things: npt.NDArray[np.bool_]) -> None:
        self.overlap = overlap.copy()
        self.things = things
        self.areas, everywhere = (np.bincount(part.ravel(), minlength=len(things)) for part in (overlap, ids))
        at_border = np.zeros(len(things), np.bool_)
        at_border[border] = True
        fragments = things & at_border & (self.areas == everywhere)
        self.levels = np.where(fragments, _FRAGMENT, np.where(things & ~at_border, _WHOLE, _PART)).astype(np.uint8)


def _matches(seen: _Side, added: _Side) -> list[tuple[int, int]]:
    """Return the pairs of things that are one: of equal standing, with an IoU above 0.5 in the overlap."""
    overlaps = count_overlaps(seen.overlap, added.overlap)
    pairs = zip(overlaps.gt_ids.tolist(), overlaps.prediction_ids.tolist(), overlaps.pixels.tolist(), strict=True)
    return [
        (known, new)
        for known, new, both in pairs
        if seen.things[known]
        and added.things[new]
        and (seen.levels[known] == _FRAGMENT) == (added.levels[new] == _FRAGMENT)
        and 2 * both > seen.areas[known] + added.areas[new] - both
    ]


def _resolved(seen: _Side, added: _Side, table: Ids) -> Ids:
    """Choose a side for each pixel of the overlap."""
    first, second = seen.levels[seen.overlap], added.levels[added.overlap]
    nearer = np.arange(len(first))[:, None] < len(first) // 2
    return np.where((first > second) | ((first == second) & nearer), seen.overlap, table[added.overlap])
