"""Panoptic quality and boundary PQ by their definitions, with sets of pixels and exact fractions.

Slow and simple on purpose: it shares no code and no shortcut with any tool, and the numbers of the rules in README.md
stand beside what applies them. `Rules` are the documented differences between public tools.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from conformance.case import Bands, Case, Expected, Grid, Image, Quality, Scores, Segment, Side

VOID = 0
HALF = Fraction(1, 2)
Pixel = tuple[int, int]
Pixels = frozenset[Pixel]


@dataclass(frozen=True)
class Rules:
    """Where public tools differ from the rules of README.md.

    `areas_of_json`: the union takes the area of a ground truth segment from the JSON. `one_crowd`: only the crowd
    region listed last for a class absorbs predictions. `unlisted_ids`: ground truth that is drawn but not listed, or
    listed but not drawn, is taken as it is. `marker`: the interiors of segments are painted with the largest category
    id + 1, which may be the id of a segment.
    """

    areas_of_json: bool = False
    one_crowd: bool = False
    unlisted_ids: bool = False
    marker: bool = False


DEFAULT = Rules()
PANOPTICAPI = Rules(areas_of_json=True, one_crowd=True, unlisted_ids=True)
VARIANTS: Mapping[str, Rules] = {
    "panopticapi": PANOPTICAPI,
    "boundary-iou-api": Rules(areas_of_json=True, one_crowd=True, unlisted_ids=True, marker=True),
}


@dataclass
class Count:
    """The counts of a class, added up over images."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_sum: Fraction = field(default_factory=Fraction)


@dataclass(frozen=True)
class Outlines:
    """The bands of one side: what is left of an id map, and the number of pixels that each segment has in its band."""

    left: dict[int, Pixels]
    areas: dict[int, int]


def solve(case: Case, rules: Rules = DEFAULT) -> Expected:
    """Score a case, or say why it must be refused."""
    if refused := next(_problems(case, rules), ""):
        return Expected(refused=refused)
    return Expected(
        _scores(case, rules, with_bands=False),
        _scores(case, rules, with_bands=True),
        tuple(_bands(image, distance(image.ground_truth.size, case.boundary_ratio)) for image in case.images),
    )


def distance(size: Pixel, ratio: Fraction) -> int:
    """Width of the band (B1): `ratio` of the diagonal, ties to the even number, at least 1; without a square root."""
    height, width = size
    squared = (2 * ratio) ** 2 * (height**2 + width**2)  # of twice the product
    whole = 0
    while (2 * whole + 1) ** 2 < squared:
        whole += 1  # the product is above whole + 1/2
    if (2 * whole + 1) ** 2 == squared and whole % 2 == 1:
        whole += 1
    return max(1, whole)


def pixels_of(ids: Grid) -> dict[int, Pixels]:
    """The pixels of every id that is drawn."""
    found: dict[int, set[Pixel]] = {}
    for y, row in enumerate(ids):
        for x, segment_id in enumerate(row):
            found.setdefault(segment_id, set()).add((y, x))
    return {segment_id: frozenset(pixels) for segment_id, pixels in found.items()}


def band(pixels: Pixels, reach: int) -> Pixels:
    """The pixels of a segment with a pixel that is not of it, or the outside, in the square of this reach (B2)."""
    steps = range(-reach, reach + 1)
    return frozenset((y, x) for y, x in pixels if any((y + dy, x + dx) not in pixels for dy in steps for dx in steps))


def _problems(case: Case, rules: Rules) -> Iterator[str]:
    """Say what is wrong with an input (X1 to X5)."""
    known = {category.id for category in case.categories}
    for image in case.images:
        if image.prediction is None:
            yield "an image has no prediction"
            return
        if image.prediction.size != image.ground_truth.size:
            yield "the sizes differ"
        for side, name in ((image.ground_truth, "ground truth"), (image.prediction, "prediction")):
            drawn, listed = pixels_of(side.ids).keys() - {VOID}, {segment.id for segment in side.segments}
            lenient = rules.unlisted_ids and side is image.ground_truth
            if drawn - listed and not lenient:
                yield f"the {name} has an id that is drawn but not listed"
            if listed - drawn and not lenient:
                yield f"the {name} has an id that is listed but not drawn"
            if any(segment.category_id not in known for segment in side.segments):
                yield f"the {name} has an unknown category"


def _scores(case: Case, rules: Rules, with_bands: bool) -> Scores:
    counts = {category.id: Count() for category in case.categories}
    marker = max(counts) + 1 if rules.marker else None
    for image in case.images:
        reach = distance(image.ground_truth.size, case.boundary_ratio) if with_bands else 0
        _count(image, rules, reach, marker, counts)
    # A class occurs if anything of it is counted (M1).
    occurring = {key: count for key, count in counts.items() if count.tp + count.fp + count.fn > 0}
    classes = {key: Quality.of(count.tp, count.fp, count.fn, count.iou_sum) for key, count in occurring.items()}
    return Scores.of(classes, case.categories)


def _count(image: Image, rules: Rules, reach: int, marker: int | None, counts: dict[int, Count]) -> None:
    ground_truth, prediction = image.ground_truth, image.prediction
    assert prediction is not None
    gt_pixels, predicted_pixels = pixels_of(ground_truth.ids), pixels_of(prediction.ids)
    void = gt_pixels.get(VOID, frozenset())
    outlines = (_outlines(ground_truth, reach, marker), _outlines(prediction, reach, marker)) if reach else None
    matched_gt, matched_predictions = set(), set()
    for gt in ground_truth.segments:
        for predicted in prediction.segments:
            if gt.is_crowd or gt.category_id != predicted.category_id:
                continue  # P1, C1
            whole, found = gt_pixels.get(gt.id, frozenset()), predicted_pixels[predicted.id]
            if not whole & found:
                continue
            area = gt.area if rules.areas_of_json and gt.area is not None else len(whole)
            iou = _iou(len(whole & found), area, len(found), len(found & void))
            if outlines:  # B4
                iou = min(iou, _boundary_iou(gt, predicted, outlines, void))
            if iou > HALF:  # P1: never two at once, as no two IoUs with disjoint segments can exceed 1/2
                matched_gt.add(gt.id)
                matched_predictions.add(predicted.id)
                counts[gt.category_id].tp += 1
                counts[gt.category_id].iou_sum += iou
    for gt in ground_truth.segments:
        if not gt.is_crowd and gt.id not in matched_gt:  # P3, C1
            counts[gt.category_id].fn += 1
    for predicted in prediction.segments:
        if predicted.id not in matched_predictions and not _ignored(predicted, image, rules):  # P3
            counts[predicted.category_id].fp += 1


def _iou(shared: int, gt_area: int, predicted_area: int, predicted_on_void: int) -> Fraction:
    """IoU without the part of the prediction that lies on void (V1)."""
    union = gt_area + predicted_area - shared - predicted_on_void
    return Fraction(shared, union)


def _boundary_iou(gt: Segment, predicted: Segment, outlines: tuple[Outlines, Outlines], void: Pixels) -> Fraction:
    """IoU of both bands, each as far as it lies within its own segment (B3)."""
    gt_outlines, predicted_outlines = outlines
    in_gt = gt_outlines.left.get(gt.id, frozenset())
    in_prediction = predicted_outlines.left.get(predicted.id, frozenset())
    areas = gt_outlines.areas[gt.id], predicted_outlines.areas[predicted.id]
    return _iou(len(in_gt & in_prediction), *areas, len(in_prediction & void))


def _outlines(side: Side, reach: int, marker: int | None) -> Outlines:
    """Reduce every segment to its band; with a marker, by painting the interiors with it, one segment after another."""
    left = pixels_of(side.ids)
    areas = {}
    for segment in side.segments:
        pixels = left.get(segment.id, frozenset())
        outline = band(pixels, reach)
        areas[segment.id] = len(outline)
        left[segment.id] = outline
        if marker is not None:
            left[marker] = left.get(marker, frozenset()) | (pixels - outline)
    return Outlines(left, areas)


def _ignored(predicted: Segment, image: Image, rules: Rules) -> bool:
    """Decide whether more than half of a prediction lies on void and on crowd of its class (V2, C2, B5)."""
    assert image.prediction is not None
    drawn, gt = pixels_of(image.prediction.ids)[predicted.id], pixels_of(image.ground_truth.ids)
    listed = (s for s in image.ground_truth.segments if s.is_crowd and s.category_id == predicted.category_id)
    crowds = [gt.get(segment.id, frozenset()) for segment in listed]
    unclear = _union([gt.get(VOID, frozenset()), *(crowds[-1:] if rules.one_crowd else crowds)])
    return Fraction(len(drawn & unclear), len(drawn)) > HALF


def _union(sets: Iterable[Pixels]) -> Pixels:
    return frozenset().union(*sets)


def _bands(image: Image, reach: int) -> Bands:
    assert image.prediction is not None
    outlines = [_outlines(side, reach, None) for side in (image.ground_truth, image.prediction)]
    return Bands(reach, outlines[0].areas, outlines[1].areas)
