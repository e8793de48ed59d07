"""Segments that mask-wise merging finds and an argmax per pixel loses (figure 4 of the CVPR paper), and their drawings.

A drawing shows what the argmax decides between: the mask of the query that found the segment, and that of the other
query to which the argmax gives most of its pixels, however improbable the class of that one is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.explanation.observing import ObservedImage
from model.explanation.parts import MERGING
from model.inference.bit_masks import pixel_owners
from model.inference.merging import MergingSettings
from model.inference.post_processing import FoundMasks
from panoptic.evaluation.panoptic_quality import Match
from panoptic.evaluation.scores import count_image, image_pq
from panoptic.report.explained import Drawing
from panoptic.visualization import Segmentation, draw_panels, write_png
from panoptic.visualization.maps import outline, shaded
from panoptic.visualization.panels import mount


@dataclass(frozen=True)
class Candidate:
    """A mask that was merged: its number, and the query, class and probability that go with it."""

    number: int
    query: int
    name: str
    probability: float

    def __str__(self) -> str:
        return f"query {self.query}: {self.name} {self.probability:.2f}"


@dataclass(frozen=True)
class LostSegment:
    """A ground truth segment that mask-wise merging finds and the argmax per pixel does not.

    Attributes:
        by_masks: the image as mask-wise merging predicts it.
        by_pixels: the same masks, merged by argmax.
        match: of the ground truth segment with its prediction by mask-wise merging.
        owner: the query that found it.
        taker: the other query to which the argmax gives most of the segment's pixels; None if none gets any.
        taken: the fraction of the pixels that it gets.
        gain: PQ within the image that mask-wise merging adds.
    """

    by_masks: ObservedImage
    by_pixels: ObservedImage
    match: Match
    owner: Candidate
    taker: Candidate | None
    taken: float
    gain: float

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts the largest gain first, and within an image the segment that was found best."""
        return -self.gain, -self.match.iou

    @property
    def caption(self) -> str:
        """Say who took what from whom."""
        lost = f"the argmax gives {self.taken:.0%} of it to {self.taker}" if self.taker else "the argmax drops it"
        return f"{self.owner}; {lost}; mask-wise merging adds {100 * self.gain:.1f} PQ within the image"


def lost_segments(by_masks: ObservedImage, by_pixels: ObservedImage) -> list[LostSegment]:
    """Return what the argmax per pixel loses in an image, if mask-wise merging has the higher PQ within it."""
    found, lost = by_masks.evaluation, by_pixels.evaluation
    assert found is not None
    assert lost is not None
    before, after = image_pq(count_image(lost)), image_pq(count_image(found))
    if before is None or after is None or after <= before:
        return []
    still_found = {match.gt_id for match in lost.matching.matches}
    return [
        _lost_segment(by_masks, by_pixels, match, after - before)
        for match in found.matching.matches
        if match.gt_id not in still_found
    ]


@torch.no_grad()
def argmax_owners(found: FoundMasks, settings: MergingSettings) -> npt.NDArray[np.int64]:
    """Return the mask that an argmax gives each pixel to, (H, W), -1 for void, before it drops any segment."""
    order = found.probabilities.argsort(descending=True, stable=True)
    order = order[found.probabilities[order] >= settings.score_threshold]
    owners = pixel_owners(found.masks, None, order.tolist(), found.sizes.original, settings.mask_threshold)
    return np.asarray(owners.numpy(force=True), np.int64)


def draw_lost(lost: LostSegment, number: int, folder: Path) -> Drawing:
    """Draw the image with its ground truth and both results, and the two masks that the argmax decides between."""
    image, ground_truth = lost.by_masks, lost.by_masks.ground_truth
    assert ground_truth is not None
    expected = Segmentation(ground_truth.ids, ground_truth.segments)
    seen, gt, kept = draw_panels(image.pixels, expected, _segmentation(image), image.categories).values()
    *_, merged = draw_panels(image.pixels, expected, _segmentation(lost.by_pixels), image.categories).values()
    shown = [one for one in (lost.owner, lost.taker) if one is not None]
    values = image.found.masks[[one.number for one in shown]].numpy(force=True)
    masks = [shaded(seen, mask, float(values.max())) for mask in values]  # on one scale: the argmax compares them
    segment = outline(seen, ground_truth.ids == lost.match.gt_id)
    rows = [
        {"segment": segment, "ground truth": gt, "mask-wise merging": kept},
        {**dict(zip(map(str, shown), masks, strict=True)), "argmax per pixel": merged},
    ]
    file = f"{MERGING}-{number:02}.png"
    write_png(folder / file, mount(rows))
    return Drawing(MERGING, file, image.name, lost.caption)


def _lost_segment(by_masks: ObservedImage, by_pixels: ObservedImage, match: Match, gain: float) -> LostSegment:
    (segment,) = (one for one in by_masks.prediction.segments if one.id == match.prediction_id)
    owners = argmax_owners(by_masks.found, by_masks.settings.merging)[by_masks.prediction.ids == segment.id]
    takers, pixels = np.unique(owners[(owners >= 0) & (owners != segment.candidate)], return_counts=True)
    taker = _candidate(by_masks, int(takers[pixels.argmax()])) if len(takers) else None
    return LostSegment(
        by_masks=by_masks,
        by_pixels=by_pixels,
        match=match,
        owner=_candidate(by_masks, segment.candidate),
        taker=taker,
        taken=float(pixels.max(initial=0) / len(owners)),
        gain=gain,
    )


def _candidate(image: ObservedImage, number: int) -> Candidate:
    found = image.found
    name = image.categories.category_of(int(found.labels[number])).name
    query = number if found.query_numbers is None else int(found.query_numbers[number])
    return Candidate(number, query, name, float(found.probabilities[number]))


def _segmentation(image: ObservedImage) -> Segmentation:
    return Segmentation(image.prediction.ids, image.segments)
