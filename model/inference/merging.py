"""Merge overlapping masks into one panoptic map (paper, section 3.5 and algorithm 1).

Four methods: `mask` (m), the paper's, which places whole masks on the map in order of their scores; and the ones that
the paper compares it with, an argmax over the masks at every pixel. `pixel` (p) compares the masks, `pixel_class` (p*)
their products with the class probabilities; both then drop a segment that keeps too little of its mask, which is
MaskFormer's rule (Cheng et al., NeurIPS 2021). `detr` (p) is DETR's own post-processing (Carion et al., ECCV 2020),
which has no such rule, but drops small segments and compares the other masks again. `mask_pixel` is not in the papers:
it keeps the segments of `mask`, whose order says which of them are right, and takes an argmax over their masks alone,
which knows better where one ends and the next begins. A method is a function in `METHODS`; `merging_reference` spells
out the same rules on plain boolean masks, and tests hold the two against each other.

As in the published code, and unlike the paper's text, a thing has to keep at least 0.6 of its area and stuff 0.8, there
is no minimum area, and mask quality divides by one pixel more than the mask has. COCO's format has each stuff class at
most once per image, so all masks of a stuff class join into one segment; pixels of that segment do not count as lost.

The device resizes, thresholds and measures the masks and packs them into bits, which come to the host all at once.
There each mask is handled in words of 64 pixels, which takes microseconds and never waits for the device.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from torch import Tensor

from model.inference.bit_masks import BitMasks, areas, pixel_owners, unpack
from panoptic.runtime.ranges import Fraction, Within, require_ranges

Exponent = Annotated[float, Within(0, 1000)]
SMALL = 4
"""Most pixels of a segment that `detr` drops."""
OWN = "own"
"""The method of networks that others trained (`model.comparators`): their own post-processing."""


@dataclass(frozen=True)
class MergingSettings:
    """The `predict.merging` section of params.yaml.

    The defaults are the published values for ResNet; PVTv2-B5 and Swin-L use a score threshold of 0.3.
    """

    method: str = "mask"
    """mask (m), mask_pixel, pixel (p), pixel_class (p*) or detr; own, for networks with a post-processing of their own,
    on which the other settings have no effect."""
    score_threshold: Fraction = 0.25
    """Least score of a segment; with the methods other than mask, which ignore alpha and beta, least class probability.
    It is the only setting with an effect on detr, whose authors' value for class probabilities by softmax is 0.85."""
    mask_threshold: Fraction = 0.5
    alpha: Exponent = 1.0
    """Exponent of the class probability in the score."""
    beta: Exponent = 2.0
    """Exponent of the mask quality in the score."""
    overlap_things: Fraction = 0.4
    """Largest fraction of its area that a thing may lose to other segments; it is dropped if it loses more."""
    overlap_stuff: Fraction = 0.2
    pixel_threshold: Fraction = 0.25
    """With mask_pixel, a pixel outside of all masks goes to the segment that is highest there, if it is above this."""

    def __post_init__(self) -> None:
        """Reject values that no image could be merged with."""
        require_ranges(self, "predict.merging")
        if self.method not in (*METHODS, OWN):
            raise ValueError(f"predict.merging.method is {self.method!r}; choose one of {', '.join((*METHODS, OWN))}")

    def allowed_overlap(self, is_thing: bool) -> float:
        """Largest fraction of its area that a segment may lose."""
        return self.overlap_things if is_thing else self.overlap_stuff


@dataclass(frozen=True)
class PredictedSegment:
    """One segment of the panoptic map."""

    id: int
    label: int  # things 0..T-1, stuff T..T+S-1
    score: float  # what it was ordered by; class probability^alpha x mask quality^beta may exceed 1
    area: int  # pixels in the map
    is_thing: bool
    candidate: int  # index of the first mask that it consists of
    query: int | None = None  # number of this mask's query, as in `FoundMasks.query_numbers`, if it is known


Merged = tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]
"""A map (H, W) of segment ids, 0 for void, and its segments with ids 1..n, best score first."""


@dataclass(frozen=True)
class Candidates:
    """The masks of one image that may become segments; all but the first field are on the host."""

    masks: Tensor  # (N, h, w) as the network gives them, without padding, on its device
    inside: BitMasks  # N at the size of the image: where each is above the mask threshold
    labels: Tensor  # (N,) things 0..num_things-1, stuff from there on
    probabilities: Tensor  # (N,) of the class
    scores: Tensor  # (N,) class probability^alpha x mask quality^beta
    num_things: int


def merge(candidates: Candidates, settings: MergingSettings) -> Merged:
    """Merge by the method that the settings name. Raises `ValueError` for one that is not ours."""
    require_our_method(settings)
    return METHODS[settings.method](candidates, settings)


def require_our_method(settings: MergingSettings) -> None:
    """Check that a network without a post-processing of its own can be merged. Raises `ValueError` if it cannot."""
    if settings.method == OWN:
        raise ValueError(
            f"predict.merging.method is {OWN!r}, which only networks in transformers' layout have "
            f"(docs/comparators.md); choose one of {', '.join(METHODS)}"
        )


def merge_masks(candidates: Candidates, settings: MergingSettings) -> Merged:
    """Place whole masks on the map, best score first; each gets those of its pixels that are still free."""
    masks, labels = candidates.inside, candidates.labels.tolist()
    taken = np.zeros(masks.words.shape[1], np.uint64)
    pixels: list[npt.NDArray[np.uint64]] = []  # of each segment
    segments: list[PredictedSegment] = []
    stuff_ids: dict[int, int] = {}
    for index in _best_first(candidates.scores, settings.score_threshold):
        mask, label = masks.words[index], labels[index]
        is_thing = label < candidates.num_things
        free = mask & ~taken
        area, free_area = areas(mask), areas(free)
        joined = stuff_ids.get(label)
        own_area = areas(mask & pixels[joined - 1]) if joined else 0
        if free_area == 0 or (area - free_area - own_area) / area > settings.allowed_overlap(is_thing):
            continue
        taken |= free
        if joined:
            pixels[joined - 1] |= free
            segments[joined - 1] = replace(segments[joined - 1], area=segments[joined - 1].area + int(free_area))
            continue
        pixels.append(free)
        score = float(candidates.scores[index])
        segments.append(PredictedSegment(len(segments) + 1, label, score, int(free_area), is_thing, index))
        if not is_thing:
            stuff_ids[label] = len(segments)
    ids = np.zeros(masks.size, np.int32)
    for segment, words in zip(segments, pixels, strict=True):
        ids[unpack(words, masks.size)] = segment.id
    return ids, tuple(segments)


def merge_masks_by_pixel(candidates: Candidates, settings: MergingSettings) -> Merged:
    """Keep the segments of `merge_masks`, and give every pixel to the one whose mask is highest there.

    A stuff segment has all masks of its class that reach the score threshold. Segments that are highest nowhere go.
    """
    _, segments = merge_masks(candidates, settings)
    labels = candidates.labels.tolist()
    order = _best_first(candidates.scores, settings.score_threshold)
    stuff = {segment.label: segment.id for segment in segments if not segment.is_thing}
    id_of = np.zeros(len(labels) + 1, np.int32)  # of every candidate; the last stands for owner -1
    for segment in segments:
        id_of[segment.candidate] = segment.id
    for index in order:
        id_of[index] = stuff.get(labels[index], id_of[index])
    owners, _ = _owners(candidates, None, [index for index in order if id_of[index]], settings.pixel_threshold)
    return _without_empty(id_of[owners], segments)


def merge_pixels(candidates: Candidates, settings: MergingSettings) -> Merged:
    """Give every pixel to the mask that ranks highest there, then drop segments that lost too much.

    As in MaskFormer, a segment is dropped if it owns too little of the area where its own mask is above the
    threshold; its pixels become void.
    """
    masks, probabilities = candidates.inside, candidates.probabilities
    order = _best_first(probabilities, settings.score_threshold)
    weights = probabilities.to(candidates.masks, non_blocking=True) if settings.method == "pixel_class" else None
    owners, owned = _owners(candidates, weights, order, settings.mask_threshold)
    id_of = np.zeros(len(masks) + 1, np.int32)  # of every candidate; the last stands for owner -1
    segments: list[PredictedSegment] = []
    for members in _groups(order, candidates.labels.tolist(), candidates.num_things):
        area, owned_area = areas(np.bitwise_or.reduce(masks.words[members])), int(owned[members].sum())
        label = int(candidates.labels[members[0]])
        is_thing = label < candidates.num_things
        if owned_area == 0 or (area - owned_area) / area > settings.allowed_overlap(is_thing):
            continue
        id_of[members] = len(segments) + 1
        score = float(probabilities[members[0]])
        segments.append(PredictedSegment(len(segments) + 1, label, score, owned_area, is_thing, members[0]))
    return id_of[owners], tuple(segments)


def merge_detr(candidates: Candidates, settings: MergingSettings) -> Merged:
    """Give every pixel to the highest mask, as DETR's `PostProcessPanoptic` does: no pixel is void.

    Segments of at most `SMALL` pixels are dropped and the remaining masks compared again, until there are none. All
    masks of a stuff class count as one segment the first time; if it is large enough, its most probable mask remains
    (DETR's: that of its first query, an order which candidates do not have).
    """
    labels, things = candidates.labels.tolist(), candidates.num_things
    kept = _best_first(candidates.probabilities, settings.score_threshold)
    compared = None
    while kept != compared:
        compared = kept
        owners, owned = _owners(candidates, None, compared, threshold=-1)
        kept = [members[0] for members in _groups(compared, labels, things) if owned[members].sum() > SMALL]
    id_of = np.zeros(len(labels) + 1, np.int32)  # of every candidate; the last stands for owner -1, if none is left
    id_of[kept] = range(1, len(kept) + 1)
    segments = (
        PredictedSegment(
            id_, labels[index], float(candidates.probabilities[index]), int(owned[index]), labels[index] < things, index
        )
        for id_, index in enumerate(kept, start=1)
    )
    return id_of[owners], tuple(segments)


METHODS: Mapping[str, Callable[[Candidates, MergingSettings], Merged]] = {
    "mask": merge_masks,
    "mask_pixel": merge_masks_by_pixel,
    "pixel": merge_pixels,
    "pixel_class": merge_pixels,
    "detr": merge_detr,
}


def _without_empty(ids: npt.NDArray[np.int32], segments: tuple[PredictedSegment, ...]) -> Merged:
    """Number the segments of a map (H, W) anew that have pixels in it, with their areas there."""
    areas = np.bincount(ids.ravel(), minlength=len(segments) + 1)
    left = [segment for segment in segments if areas[segment.id]]
    id_of = np.zeros(len(segments) + 1, np.int32)
    id_of[[segment.id for segment in left]] = range(1, len(left) + 1)
    numbered = (replace(segment, id=int(id_of[segment.id]), area=int(areas[segment.id])) for segment in left)
    return id_of[ids], tuple(numbered)


def _owners(
    candidates: Candidates, weights: Tensor | None, order: Sequence[int], threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the owner of each pixel (H, W), see `pixel_owners`, and the number of pixels of each candidate (N,)."""
    owners = pixel_owners(candidates.masks, weights, order, candidates.inside.size, threshold).numpy(force=True)
    return owners, np.bincount(owners.ravel() + 1, minlength=len(candidates.masks) + 1)[1:]


def _groups(order: Sequence[int], labels: Sequence[int], num_things: int) -> list[list[int]]:
    """Group candidates into segments: each thing alone, all masks of a stuff class at the position of the first."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index in order:
        label = labels[index]
        groups.setdefault(("thing", index) if label < num_things else ("stuff", label), []).append(index)
    return list(groups.values())


def _best_first(scores: Tensor, threshold: float) -> list[int]:
    """Indices of the scores that reach the threshold, in descending order; ties keep their order."""
    order = scores.argsort(descending=True, stable=True)
    return order[scores[order] >= threshold].tolist()
