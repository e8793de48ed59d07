"""Checks of recorded arrays with the results for one image."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchmarks.official_parity.checks import (
    ALL,
    ATOL,
    FRACTION_ATOL,
    PIXEL_ATOL,
    Array,
    Check,
    compare,
    compare_sampled,
    compare_stats,
)
from benchmarks.official_parity.forward import Forward, Pairs
from model.inference.bit_masks import resized, segment_masks
from model.inference.merging import MergingSettings
from model.inference.post_processing import pixel_boxes
from model.network.outputs import MaskOutput
from model.weights.official.classes import coco_categories

Recorded = Mapping[str, Array]
TOKENS = (1, 3, 7, 13)
OTHER_LABEL = 1e6  # cost of another label, as a distance between boxes in pixels


@dataclass(frozen=True)
class RecordedImage:
    """One image of a recording and the computed results."""

    index: int
    recorded: Recorded
    forward: Forward

    def array(self, name: str) -> Array:
        """Return a recorded array of this image."""
        return self.recorded[f"img{self.index}_{name}"]

    @property
    def pairs(self) -> Pairs:
        """The recorded (query, label) pairs, best first."""
        return pairs_of(self.recorded, self.index)

    @property
    def order(self) -> list[int] | None:
        """Positions of the recorded pairs among ours; None if ours are others."""
        selection = self.forward.output.selection
        ours = zip(selection.indices[self.index].tolist(), selection.labels[self.index].tolist(), strict=True)
        positions = {pair: position for position, pair in enumerate(ours)}
        return [positions[pair] for pair in self.pairs] if positions.keys() == set(self.pairs) else None


def pairs_of(recorded: Recorded, image: int) -> Pairs:
    """Return the recorded (query, label) pairs of an image, best first; empty if they were not recorded."""
    names = [f"img{image}_top_{part}" for part in ("query_index", "labels")]
    if not all(name in recorded for name in names):
        return ()
    queries, labels = (recorded[name].tolist() for name in names)
    return tuple(zip(queries, labels, strict=True))


def check_image(name: str, recorded: Recorded, forward: Forward) -> list[Check]:
    """Compare a recorded array of one image; return nothing for any other array."""
    found = re.fullmatch(r"img(\d+)_(\w+)", name)
    if not found or int(found[1]) >= len(forward.sizes):
        return []
    issue = _shape_issue(found[1], found[2], recorded)
    if issue:
        return [Check(name, float("inf"), 0, issue)]
    image = RecordedImage(int(found[1]), recorded, forward)
    for pattern, check in _CHECKS.items():
        match = re.fullmatch(pattern, found[2])
        if match:
            return [*check(match, image, name)]
    return []


def _shape_issue(index: str, part: str, recorded: Recorded) -> str:
    """Say why an array, or one that it is compared together with, cannot be compared; empty if it can."""
    together = next((shapes for shapes in _TOGETHER if part in shapes), {})
    for other, shape in together.items():
        name = f"img{index}_{other}"
        if name not in recorded:
            return f"not compared, as {name} is not in the recording"
        found = recorded[name].shape
        if len(found) != len(shape) or any(size not in (None, own) for size, own in zip(shape, found, strict=True)):
            return f"not compared, as {name} is {found}, expected {str(shape).replace('None', 'N')}"
    if len({recorded[f"img{index}_{other}"].shape[:1] for other in together}) > 1:
        return f"not compared, as {', '.join(together)} differ in length"
    return ""


def equal_pixels(recorded: Recorded, forward: Forward) -> dict[int, float]:
    """Return the fraction of pixels with the recorded category and instance, for every image with panoptic maps."""
    fractions = {}
    for index in range(len(forward.sizes)):
        if f"img{index}_panoptic_category_id" in recorded and f"img{index}_panoptic_instance_id" in recorded:
            image = RecordedImage(index, recorded, forward)
            fractions[index] = float((_equal(image, "category") & _equal(image, "instance")).mean())
    return fractions


def _selection(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    """Compare the selected pairs as a set: many probabilities differ by less than the precision."""
    selection = image.forward.output.selection
    ours = set(zip(selection.indices[image.index].tolist(), selection.labels[image.index].tolist(), strict=True))
    others = len(set(image.pairs) - ours) if image.pairs else len(ours)
    yield Check(name, others, 0, f"{others} of {len(ours)} (query, label) differ" if others else "same (query, label)")


def _top_boxes(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    if image.order is None:
        yield _needs_pairs(name)
        return
    selection, boxes_by_layer = image.forward.output.selection, image.forward.output.location.boxes
    indices = selection.indices[image.index, image.order]
    boxes = pixel_boxes(boxes_by_layer[-1, image.index, indices], image.forward.sizes[image.index])
    recorded = image.array("top_boxes")
    yield compare(name, boxes, recorded[:, :4], PIXEL_ATOL, "pixels")
    yield compare(name, selection.scores[image.index, image.order], recorded[:, 4], ATOL, "class probability")


def _min_gap(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    """Explain why ranks are not compared."""
    gap = float(image.array("top_min_gap"))
    yield Check(name, 0.0, 0.0, f"not compared: ranks are undefined where scores differ by {gap:.0e}")


def _masks(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    """Compare masks and queries of a decoder, those of things in the recorded order."""
    decoded = _decoded(match[1], image)
    if decoded is None:
        yield _needs_pairs(name)
        return
    masks, queries = decoded.masks.flatten(2), decoded.queries
    recorded = image.recorded[name]
    count = recorded.shape[-2] if recorded.ndim > 1 else 0
    if match[2] == "mask_final":
        yield compare_sampled(name, masks[-1, :count], recorded, (ALL, TOKENS), ATOL)
    elif match[2] == "mask_inter":
        yield compare_sampled(name, masks[:-1, :count], recorded, (ALL, ALL, TOKENS), ATOL)
    elif match[2] == "mask_stats":
        yield compare_stats(name, list(masks), recorded, ATOL)
    elif match[2] == "mask_frac_gt_half":
        yield compare(name, (masks > 0.5).double().mean((1, 2)), recorded, ATOL)
    elif match[2] == "query_last":
        yield compare_sampled(name, queries[-1, :count], recorded, (ALL, (8,)), ATOL)
    else:
        yield compare_stats(name, list(queries), recorded, ATOL)


def _decoded(side: str, image: RecordedImage) -> MaskOutput | None:
    """Return the output of the mask decoder of things or stuff for this image."""
    output = image.forward.output
    decoder = output.query_masks if side == "things" else output.stuff
    assert decoder is not None
    order: list[int] | slice | None = slice(None)
    if side == "things" and image.pairs:
        order = image.order
    if order is None:
        return None
    return MaskOutput(decoder.masks[:, image.index][:, order], decoder.queries[:, image.index][:, order])


def _stuff_probability(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    logits = image.forward.output.stuff_logits
    assert logits is not None
    yield compare(name, logits[-1, image.index].sigmoid(), image.array("stuff_prob"), ATOL)


def _panoptic(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    fraction = float(_equal(image, match[1]).mean())
    yield Check(name, 1 - fraction, FRACTION_ATOL, f"{fraction:.3%} of the pixels are equal")


def _equal(image: RecordedImage, field: str) -> npt.NDArray[np.bool_]:
    """Return the pixels whose `field`, category or instance, is the recorded one."""
    prediction = image.forward.predictions[image.index]
    recorded = image.array(f"panoptic_{field}_id").astype(np.int64)
    if recorded.shape != prediction.ids.shape:
        return np.zeros((1, 1), dtype=np.bool_)
    categories = list(coco_categories())
    number = np.zeros(len(prediction.segments) + 1, dtype=np.int64)
    for segment in prediction.segments:
        thing_number = int(number.max()) + 1 if segment.is_thing else 0
        number[segment.id] = categories[segment.label].id if field == "category" else thing_number
    ours = number[prediction.ids]
    return np.equal(ours if field == "category" else _renumbered(ours, recorded), recorded)


def _renumbered(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Renumber instances as in the recording: numbers follow the scores, some of which are near ties; 0 stays."""
    overlap = np.zeros((ours.max() + 1, theirs.max() + 1), dtype=np.int64)
    np.add.at(overlap, (ours, theirs), 1)
    numbers = np.full(len(overlap), -1)
    numbers[0] = 0
    rows, columns = linear_sum_assignment(overlap[1:, 1:], maximize=True)
    numbers[rows + 1] = columns + 1
    return numbers[ours]


def _results(match: re.Match[str], image: RecordedImage, name: str) -> Iterator[Check]:
    """Compare the instances before merging, paired with the recorded ones by label, box and score."""
    instances = image.forward.predictions[image.index].instances
    boxes, labels, areas = (image.array(f"result_{part}") for part in ("boxes", "labels", "seg_area"))
    if len(boxes) != len(instances.scores):
        yield Check(name, float("inf"), 0, f"recorded {len(boxes)} instances, computed {len(instances.scores)}")
        return
    ours_areas = instances.masks.sum((1, 2))
    cost = np.abs(instances.boxes_xyxy[None] - boxes[:, None, :4]).max(-1).astype(np.float64)
    cost += OTHER_LABEL * (instances.labels[None] != labels[:, None])
    cost += np.abs(instances.scores[None] - boxes[:, None, 4])
    cost += 1e-6 * np.abs(ours_areas[None] - areas[:, None])  # decides between equal boxes and scores
    _, order = linear_sum_assignment(np.nan_to_num(cost, nan=OTHER_LABEL))
    if match[1] == "boxes":
        flipped = np.abs(ours_areas[order] - areas)
        difference = np.abs(instances.scores[order] - boxes[:, 4])
        yield compare(name, instances.boxes_xyxy[order], boxes[:, :4], PIXEL_ATOL, "pixels")
        # A pixel that crosses the threshold changes the mean of the mask's values by 1 / area at most.
        error = float((difference - flipped / np.maximum(areas, 1)).max(initial=0.0))
        yield Check(name, error, ATOL, f"score; {int((flipped > 0).sum())} masks differ in area")
    elif match[1] == "labels":
        yield Check(name, int((instances.labels[order] != labels).sum()), 0)
    else:
        different = np.abs(ours_areas[order] - areas)
        beyond = (different - undecided_pixels(image)[order]).max(initial=0)
        remark = f"pixels beyond those within {ATOL} of the threshold; {different.max(initial=0)} pixels differ in all"
        yield Check(name, float(beyond), 0, remark)


def undecided_pixels(image: RecordedImage) -> npt.NDArray[np.int64]:
    """Count the pixels of each instance on whose side of the threshold rounding may decide."""
    threshold, size = MergingSettings().mask_threshold, image.forward.sizes[image.index].original
    masks = image.forward.output.query_masks.masks[-1, image.index].float()
    bits, _ = segment_masks(masks, size, threshold)
    counts = [int(count) for _, values in resized(masks, size) for count in _near(values, threshold)]
    by_mask = {words.tobytes(): count for words, count in zip(bits.words, counts, strict=True)}
    found = image.forward.predictions[image.index].instances.bits
    return np.array([by_mask[words.tobytes()] for words in found[np.arange(len(found))].words], dtype=np.int64)


def _near(values: Tensor, threshold: float) -> Tensor:
    return ((values - threshold).abs() <= ATOL).sum((1, 2))


def _needs_pairs(name: str) -> Check:
    return Check(name, float("inf"), 0, "not compared, as other queries are selected")


_TOGETHER: tuple[Mapping[str, tuple[int | None, ...]], ...] = (
    {"top_query_index": (None,), "top_labels": (None,)},
    {"top_boxes": (None, 5)},
    {"top_min_gap": ()},
    {"result_boxes": (None, 5), "result_labels": (None,), "result_seg_area": (None,)},
)
"""Arrays of an image that are compared together, with their shapes."""

_CHECKS: Mapping[str, Callable[[re.Match[str], RecordedImage, str], Iterator[Check]]] = {
    r"top_(?:query_index|labels)": _selection,
    r"top_boxes": _top_boxes,
    r"top_min_gap": _min_gap,
    r"(things|stuff)_(mask_final|mask_inter|mask_stats|mask_frac_gt_half|query_last|query_stats)": _masks,
    r"stuff_prob": _stuff_probability,
    r"panoptic_(category|instance)_id": _panoptic,
    r"result_(boxes|labels|seg_area)": _results,
}
