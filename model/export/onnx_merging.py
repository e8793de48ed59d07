"""Merging by mask as a part of an ONNX graph: the rules of `model.merging_reference`, node by node.

Two loops. The first enlarges every mask that may reach the score threshold and measures its quality; the second goes
through those that do, best score first, and gives each its pixels that are still free. A mask is enlarged again there
instead of being kept, so that memory does not grow with their number. Enlarging multiplies a mask with the matrices of
bilinear interpolation from both sides, in the order and with the rounding of `torch.nn.functional.interpolate`.

Shapes: N masks of h x w, things and stuff together; K may become segments; S segments; the map is H x W.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnxscript import ir

from model.export.onnx_ops import Ops, Step

FLOAT, DOUBLE, INT32, INT64 = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT32, ir.DataType.INT64
_ZERO, _ONE, _NOWHERE = np.int64(0), np.int64(1), np.int64(-1)
_FREE = np.int32(0)
_ROUNDING = np.float32(1.0001)
"""Factor by which the largest value of a mask is raised, so that it bounds the mean of enlarged values for certain."""


@dataclass(frozen=True)
class Found:
    """The masks that the network found in one image."""

    masks: ir.Value  # (N, h, w) float32
    labels: ir.Value  # (N,) int64, things 0..T-1, stuff from there on
    probabilities: ir.Value  # (N,) float32


@dataclass(frozen=True)
class Segments:
    """The outputs of merging."""

    ids: ir.Value  # (H, W) int32
    candidates: ir.Value  # (S,) int64, the mask that each segment starts from
    scores: ir.Value  # (S,) float32
    areas: ir.Value  # (S,) int64
    boxes: ir.Value  # (S, 4) int64


def merge_masks(
    ops: Ops, found: Found, size: ir.Value, settings: Mapping[str, ir.Value], num_things: int, num_classes: int
) -> Segments:
    """Add the nodes that merge.

    Args:
        ops: where to add them.
        found: what to merge.
        size: (2,) int64, the height and width of the map.
        settings: float64 scalars by name, those of `MergingSettings` without the method.
        num_things: labels below are things.
        num_classes: number of all labels.
    """
    enlarger = Enlarger.of(ops, found.masks, size, settings["mask_threshold"])
    exponents = (ops.cast(settings[name], FLOAT) for name in ("alpha", "beta"))
    score = Score(ops.cast(settings["score_threshold"], FLOAT), *exponents)
    possible = _possible(ops, found, score)
    areas, totals = ops.loop(ops("Size", possible), [], 2, _measuring(enlarger, possible))
    quality = ops("Div", totals, ops.cast(ops("Add", areas, _ONE), FLOAT))
    scores = score.of(ops, ops("Gather", found.probabilities, possible), quality)
    chosen = ops("GreaterOrEqual", scores, score.threshold)
    candidates, areas, scores = (ops("Compress", value, chosen, axis=0) for value in (possible, areas, scores))
    turns = ops("Size", candidates)
    scores, order = ops.several("TopK", 2, scores, ops("Unsqueeze", turns, np.array([0])))  # ties keep their order
    candidates, areas = (ops("Gather", value, order) for value in (candidates, areas))
    placing = Placing(enlarger, ops("Gather", found.labels, candidates), candidates, areas, num_things)
    initial = [
        (ops("Expand", _FREE, size), INT32, 2),
        (ops("Identity", _ZERO), INT64, 0),
        (ops("Identity", np.zeros(num_classes, np.int64)), INT64, 1),
    ]
    ids, _, _, starts = ops.loop(turns, initial, 1, placing.step(settings))
    candidates, scores = (ops("Compress", value, starts, axis=0) for value in (candidates, scores))
    areas, boxes = ops.loop(ops("Size", candidates), [], 2, _extents(ids))
    # Without a segment, a loop does not know how many numbers a box has.
    return Segments(ids, candidates, scores, areas, ops("Reshape", boxes, np.array([-1, 4])))


@dataclass(frozen=True)
class Score:
    """Class probability^alpha x mask quality^beta, and its threshold, in float32."""

    threshold: ir.Value
    alpha: ir.Value
    beta: ir.Value

    def of(self, ops: Ops, probabilities: ir.Value, quality: ir.Value) -> ir.Value:
        """Add the nodes that compute it."""
        return ops("Mul", ops("Pow", probabilities, self.alpha), ops("Pow", quality, self.beta))


@dataclass(frozen=True)
class Enlarger:
    """Masks, and the matrices that enlarge them."""

    masks: ir.Value  # (N, h, w)
    rows: ir.Value  # (H, h)
    columns: ir.Value  # (w, W)
    threshold: ir.Value  # float32

    @classmethod
    def of(cls, ops: Ops, masks: ir.Value, size: ir.Value, threshold: ir.Value) -> "Enlarger":
        """Add the nodes that make the matrices."""
        shape = ops("Shape", masks)
        rows, columns = (
            _interpolation(ops, ops("Gather", size, np.int64(axis)), ops("Gather", shape, np.int64(axis + 1)))
            for axis in (0, 1)
        )
        return cls(masks, rows, ops("Transpose", columns, perm=[1, 0]), ops.cast(threshold, FLOAT))

    def values(self, ops: Ops, index: ir.Value) -> ir.Value:
        """Add the nodes that enlarge one mask to (H, W), in float32."""
        mask = ops("Gather", self.masks, index)
        return ops("MatMul", self.rows, ops("MatMul", mask, self.columns))

    def inside(self, ops: Ops, values: ir.Value) -> ir.Value:
        """Add the node that tells where the values are above the threshold."""
        return ops("Greater", values, self.threshold)


def _interpolation(ops: Ops, target: ir.Value, source: ir.Value) -> ir.Value:
    """Weights (target, source) of linear interpolation between pixel centers."""
    scale = ops("Div", ops.cast(source, FLOAT), ops.cast(target, FLOAT))
    centers = ops("Add", ops.cast(ops("Range", _ZERO, target, _ONE), DOUBLE), np.float64(0.5))
    # torch computes in float32, but with one rounding for the product and the difference.
    positions = ops("Sub", ops("Mul", ops.cast(scale, DOUBLE), centers), np.float64(0.5))
    positions = ops("Max", ops.cast(positions, FLOAT), np.float32(0))
    lower = ops("Floor", positions)
    fraction = ops("Unsqueeze", ops("Sub", positions, lower), np.array([1]))
    last = ops.cast(ops("Sub", source, _ONE), FLOAT)
    upper = ops("Min", ops("Add", lower, np.float32(1)), last)
    grid = ops.cast(ops("Range", _ZERO, source, _ONE), FLOAT)
    parts = ((lower, ops("Sub", np.float32(1), fraction)), (upper, fraction))
    weights = [
        ops("Where", ops("Equal", grid, ops("Unsqueeze", index, np.array([1]))), weight, np.float32(0))
        for index, weight in parts
    ]
    return ops("Add", *weights)


def _possible(ops: Ops, found: Found, score: Score) -> ir.Value:
    """Indices (K,) of the masks whose score may reach the threshold, as far as their largest value tells."""
    largest = ops("ReduceMax", found.masks, np.array([1, 2]), keepdims=0)
    bound = score.of(ops, found.probabilities, ops("Mul", largest, _ROUNDING))
    # A bound that is no number, from zero times infinity, tells nothing.
    possible = ops("NonZero", ops("Not", ops("Less", bound, score.threshold)))
    return ops("Squeeze", possible, np.array([0]))


def _count(ops: Ops, inside: ir.Value) -> ir.Value:
    """Number of pixels; the sums of rows are exact in float32, which is faster than integers."""
    rows = ops("ReduceSum", ops.cast(inside, FLOAT), np.array([1]), keepdims=0)
    return ops("ReduceSum", ops.cast(rows, INT64), keepdims=0)


def _measuring(enlarger: Enlarger, possible: ir.Value) -> Step:
    """Measure the area of a mask and the sum of its values inside."""

    def step(ops: Ops, turn: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        values = enlarger.values(ops, ops("Gather", possible, turn))
        inside = enlarger.inside(ops, values)
        rows = ops("ReduceSum", ops("Where", inside, values, np.float32(0)), np.array([1]), keepdims=0)
        return _count(ops, inside), ops("ReduceSum", rows, keepdims=0)

    return step


@dataclass(frozen=True)
class Placing:
    """Masks in the order in which they are placed on the map."""

    enlarger: Enlarger
    labels: ir.Value  # (K,)
    candidates: ir.Value  # (K,) indices of the masks
    areas: ir.Value  # (K,) before merging
    num_things: int

    def step(self, settings: Mapping[str, ir.Value]) -> Step:
        """Place one mask: carries the map, the number of segments and their ids by stuff label; stacks new segments."""

        def step(ops: Ops, turn: ir.Value, carried: Sequence[ir.Value]) -> Sequence[ir.Value]:
            ids, number, stuff_ids = carried
            label, index, area = (ops("Gather", of, turn) for of in (self.labels, self.candidates, self.areas))
            is_thing = ops("Less", label, np.int64(self.num_things))
            joined = ops("Gather", stuff_ids, label)  # 0 if the mask may only start a segment
            inside = self.enlarger.inside(ops, self.enlarger.values(ops, index))
            free = ops("And", inside, ops("Equal", ids, _FREE))
            free_area = _count(ops, free)
            own_id = ops("Where", ops("Equal", joined, _ZERO), _NOWHERE, joined)
            own_area = _count(ops, ops("And", inside, ops("Equal", ids, ops.cast(own_id, INT32))))
            lost = ops("Sub", ops("Sub", area, free_area), own_area)
            allowed = ops("Where", is_thing, settings["overlap_things"], settings["overlap_stuff"])
            fraction = ops("Div", ops.cast(lost, DOUBLE), ops.cast(area, DOUBLE))
            kept = ops("And", ops("Greater", free_area, _ZERO), ops("LessOrEqual", fraction, allowed))
            starts = ops("And", kept, ops("Equal", joined, _ZERO))
            number = ops("Add", number, ops.cast(starts, INT64))
            id_ = ops("Where", starts, number, joined)
            ids = ops("Where", ops("And", free, kept), ops.cast(id_, INT32), ids)
            return ids, number, _remember(ops, stuff_ids, label, id_, ops("And", starts, ops("Not", is_thing))), starts

        return step


def _remember(ops: Ops, stuff_ids: ir.Value, label: ir.Value, id_: ir.Value, new: ir.Value) -> ir.Value:
    """Note the segment of a stuff label if it is new."""
    labels = ops("Range", _ZERO, ops("Size", stuff_ids), _ONE)
    return ops("Where", ops("And", new, ops("Equal", labels, label)), id_, stuff_ids)


def _extents(ids: ir.Value) -> Step:
    """Measure the area of a segment and its tightest box: left, top, width, height."""

    def step(ops: Ops, turn: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        pixels = ops.cast(ops("Equal", ids, ops.cast(ops("Add", turn, _ONE), INT32)), FLOAT)
        rows, columns = (ops("ReduceSum", pixels, np.array([axis]), keepdims=0) for axis in (1, 0))
        area = ops("ReduceSum", ops.cast(rows, INT64), keepdims=0)
        first, last = [], []
        for counts in (columns, rows):
            present = ops.cast(ops("Greater", counts, np.float32(0)), FLOAT)
            first.append(ops("ArgMax", present))
            last.append(ops("ArgMax", present, select_last_index=1))
        lengths = ops("Add", ops("Sub", ops("Concat", *last, axis=0), ops("Concat", *first, axis=0)), _ONE)
        return area, ops("Concat", *first, lengths, axis=0)

    return step
