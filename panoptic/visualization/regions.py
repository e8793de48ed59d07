"""An id map as drawing reads it: segments numbered without gaps, their distances to edges, and who touches whom."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.format.id_map import VOID
from panoptic.format.segments import SegmentLabel

# Segments that a thin strip of void parts are neighbors to the eye; what parts them is looked for on a grid this fine.
_GRID_SIDE = 256


@dataclass(frozen=True)
class Regions:
    """The segments of an image; tables of their properties are looked up by number, in one pass over the image."""

    segments: Sequence[SegmentLabel]
    numbers: NDArray[np.int32]
    """(H,W) the position in `segments` plus 1; 0 is void, and where ids have no segment."""
    edges: NDArray[np.bool_]
    """(H,W) the pixels next to another segment or void."""

    @classmethod
    def of(cls, ids: NDArray[np.int32], segments: Sequence[SegmentLabel]) -> "Regions":
        """Number the segments of an (H,W) id map."""
        listed = np.array([segment.id for segment in segments], np.int64)
        # Ids beyond the table are clipped to its ends, which are void.
        table = np.zeros(int(listed.max(initial=0)) + 2, np.int32)
        table[listed] = np.arange(1, len(segments) + 1)
        table[VOID] = 0
        numbers = table.take(ids, mode="clip")
        edges = np.zeros(ids.shape, bool)
        across, down = numbers[:, 1:] != numbers[:, :-1], numbers[1:] != numbers[:-1]
        edges[:, 1:] = across
        edges[:, :-1] |= across
        edges[1:] |= down
        edges[:-1] |= down
        return cls(segments, numbers, edges)

    def edge_distance(self) -> NDArray[np.float32]:
        """(H,W) pixels to the nearest pixel of `edges`, which have 0; large where there are none."""
        return np.asarray(cv2.distanceTransform((~self.edges).view(np.uint8), cv2.DIST_L2, 5), np.float32)

    def neighbors(self) -> dict[int, set[int]]:
        """The ids of the segments that touch each, or that a few pixels part from it."""
        step = ceil(max(self.numbers.shape) / _GRID_SIDE)
        coarse = self.numbers[::step, ::step]
        found = [
            pairs
            for grid, offset in ((self.numbers, 1), (coarse, 2), (coarse, 4))
            for pairs in (
                self._pairs(grid[offset:], grid[:-offset]),
                self._pairs(grid[:, offset:], grid[:, :-offset]),
            )
        ]
        neighbors: dict[int, set[int]] = defaultdict(set)
        for code in np.unique(np.concatenate(found)).tolist():
            first, second = (self.segments[number - 1].id for number in divmod(code, len(self.segments) + 1))
            neighbors[first].add(second)
            neighbors[second].add(first)
        return dict(neighbors)

    def _pairs(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int64]:
        """The pairs of different segments at the same place of two grids, each pair as one number."""
        differ = first != second
        one, other = first[differ].astype(np.int64), second[differ].astype(np.int64)
        codes = np.minimum(one, other) * (len(self.segments) + 1) + np.maximum(one, other)
        return np.unique(codes[np.minimum(one, other) != 0])
