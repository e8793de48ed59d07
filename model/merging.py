"""Masks and class probabilities to one panoptic map (paper, section 3.5 and algorithm 1).

Three methods: `mask` (m), the paper's: masks are laid on the map whole, best score first; and those that the paper
compares it with, `pixel` (p), DETR's, and `pixel_class` (p*), MaskFormer's: an argmax over the masks at every pixel.

Unlike the paper's text, things keep at least 0.6 and stuff 0.8 of their area, there is no minimum area, and a
mask's quality counts one pixel more than it has. COCO's format has every stuff class once in a picture, so where
several queries find one stuff class they make one segment; what belongs to it already is not taken from them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.boxes import cxcywh_to_xyxy, mask_boxes
from model.mask_pixels import Size, pixel_owners, segment_masks
from model.network.outputs import PanopticOutput

METHODS = ("mask", "pixel", "pixel_class")


@dataclass(frozen=True)
class MergingSettings:
    """Published values for ResNet; PVTv2-B5 and Swin-L use a score threshold of 0.3."""

    method: str = "mask"
    """mask (m), pixel (p) or pixel_class (p*)."""
    score_threshold: float = 0.25
    """Of the score; with pixel and pixel_class, where alpha and beta do not enter, of the class probability."""
    mask_threshold: float = 0.5
    alpha: float = 1.0
    """Exponent of the class probability in the score."""
    beta: float = 2.0
    """Exponent of the mask quality in the score."""
    overlap_things: float = 0.4
    """A thing with a larger share of its area lost to others is left out."""
    overlap_stuff: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what no picture could be merged with."""
        if self.method not in METHODS:
            raise ValueError(f"merging.method is {self.method!r}; choose one of {', '.join(METHODS)}")
        for name in ("score_threshold", "mask_threshold", "overlap_things", "overlap_stuff"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"merging.{name} is {getattr(self, name)}; give a number from 0 to 1")
        for name in ("alpha", "beta"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"merging.{name} is {getattr(self, name)}; give a finite number of at least 0")


@dataclass(frozen=True)
class PictureSizes:
    """(height, width) of one picture: of its padded batch, of its part without padding, and as it was read."""

    batch: Size
    valid: Size
    original: Size


@dataclass(frozen=True)
class PredictedSegment:
    """One segment of the panoptic map."""

    id: int
    label: int  # things 0..T-1, stuff T..T+S-1
    score: float  # what it was ordered by; class probability^alpha x mask quality^beta may exceed 1
    area: int  # pixels in the map
    is_thing: bool


@dataclass(frozen=True)
class Instances:
    """All selected things of one picture, best score first, before merging, whatever its method."""

    masks: npt.NDArray[np.bool_]  # (N, H, W)
    boxes_xyxy: npt.NDArray[np.float32]  # (N, 4) pixels of the original picture; of the mask where none is predicted
    labels: npt.NDArray[np.int64]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) class probability^alpha x mask quality^beta


@dataclass(frozen=True)
class PanopticPrediction:
    """Result for one picture, at its original size."""

    ids: npt.NDArray[np.int32]  # (H, W) 0 = void, else the id of a segment
    segments: tuple[PredictedSegment, ...]  # ids 1..n, best score first
    instances: Instances


@dataclass(frozen=True)
class _Candidates:
    """Everything that may become a segment: the selected queries, then the stuff classes with a query of their own."""

    masks: Tensor  # (N, h, w) as the network gives them, without padding
    labels: Tensor  # (N,)
    probabilities: Tensor  # (N,) of the class


@torch.no_grad()
def predict_panoptic(
    output: PanopticOutput,
    sizes: Sequence[PictureSizes],
    settings: MergingSettings,
    crop_padding: bool = True,
) -> tuple[PanopticPrediction, ...]:
    """Panoptic maps of a batch.

    Args:
        output: of the network.
        sizes: of each picture of the batch.
        settings: method and thresholds.
        crop_padding: False resizes masks with their padding, as the published code does. That is wrong for
            padded pictures and only serves to compare with it.
    """
    return tuple(_predict_picture(output, index, size, settings, crop_padding) for index, size in enumerate(sizes))


def _predict_picture(
    output: PanopticOutput, index: int, sizes: PictureSizes, settings: MergingSettings, crop_padding: bool
) -> PanopticPrediction:
    found = _candidates(output, index, sizes if crop_padding else None)
    segmented, quality = segment_masks(found.masks, sizes.original, settings.mask_threshold)
    scores = found.probabilities**settings.alpha * quality**settings.beta
    if settings.method == "mask":
        ids, segments = merge(segmented, scores, found.labels, output.num_things, settings)
    else:
        weights = found.probabilities if settings.method == "pixel_class" else None
        order = list(_best_first(found.probabilities, settings.score_threshold))
        owners = pixel_owners(found.masks, weights, order, sizes.original, settings.mask_threshold)
        ids, segments = merge_owned(owners, segmented, found.probabilities, found.labels, output.num_things, settings)
    return PanopticPrediction(ids, segments, _instances(output, index, found, scores, segmented, sizes))


def _candidates(output: PanopticOutput, index: int, crop_to: PictureSizes | None) -> _Candidates:
    chosen = output.selection.valid[index]
    labels, probabilities, slots = (
        part[index, chosen] for part in (output.selection.labels, output.selection.scores, output.selection.slots)
    )
    masks = output.query_masks.masks[-1, index, slots]
    if output.stuff is not None and output.stuff_logits is not None:
        stuff_labels = output.num_things + torch.arange(output.stuff_logits.shape[-1], device=labels.device)
        labels = torch.cat((labels, stuff_labels))
        probabilities = torch.cat((probabilities, output.stuff_logits[-1, index].sigmoid()))
        masks = torch.cat((masks, output.stuff.masks[-1, index]))
    masks = masks.float()
    return _Candidates(masks if crop_to is None else _crop(masks, crop_to), labels, probabilities.float())


def merge(
    masks: Tensor, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]:
    """Lay masks on one map, best score first; each gets the pixels that are still free.

    Args:
        masks: (N, H, W) bool.
        scores: (N,).
        labels: (N,) things 0..num_things-1, stuff from there on.
        num_things: number of thing classes.
        settings: thresholds.
    """
    ids = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    segments: list[PredictedSegment] = []
    stuff_ids: dict[int, int] = {}
    for position in _best_first(scores, settings.score_threshold):
        mask = masks[position]
        label = int(labels[position])
        is_thing = label < num_things
        free = mask & (ids == 0)
        area, free_area = int(mask.sum()), int(free.sum())
        joined = stuff_ids.get(label)
        own_area = int((mask & (ids == joined)).sum()) if joined else 0
        allowed = settings.overlap_things if is_thing else settings.overlap_stuff
        if free_area == 0 or (area - free_area - own_area) / area > allowed:
            continue
        if joined:
            ids[free] = joined
            segments[joined - 1] = replace(segments[joined - 1], area=segments[joined - 1].area + free_area)
            continue
        ids[free] = len(segments) + 1
        segments.append(PredictedSegment(len(segments) + 1, label, float(scores[position]), free_area, is_thing))
        if not is_thing:
            stuff_ids[label] = len(segments)
    return ids.numpy(force=True), tuple(segments)


def merge_owned(
    owners: Tensor, masks: Tensor, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]:
    """Segments of a map on which every pixel has its owner already.

    A segment that owns too little of the area where its own mask is above the threshold is left out, as in
    MaskFormer; nobody else gets its pixels.

    Args:
        owners: (H, W) position of the mask that a pixel belongs to, -1 for none.
        masks: (N, H, W) bool, where each is above the threshold.
        scores, labels, num_things, settings: as in `merge`.
    """
    ids = torch.zeros_like(owners, dtype=torch.int32)
    segments: list[PredictedSegment] = []
    for members in _groups(list(_best_first(scores, settings.score_threshold)), labels.tolist(), num_things):
        owned = torch.isin(owners, torch.tensor(members, device=owners.device))
        area, owned_area = int(masks[members].any(0).sum()), int(owned.sum())
        label = int(labels[members[0]])
        allowed = settings.overlap_things if label < num_things else settings.overlap_stuff
        if owned_area == 0 or (area - owned_area) / area > allowed:
            continue
        ids[owned] = len(segments) + 1
        score = float(scores[members[0]])
        segments.append(PredictedSegment(len(segments) + 1, label, score, owned_area, label < num_things))
    return ids.numpy(force=True), tuple(segments)


def _groups(positions: Sequence[int], labels: Sequence[int], num_things: int) -> list[list[int]]:
    """The positions in their order, those of one stuff class together where the first of them stands."""
    groups: dict[tuple[str, int], list[int]] = {}
    for position in positions:
        label = labels[position]
        groups.setdefault(("thing", position) if label < num_things else ("stuff", label), []).append(position)
    return list(groups.values())


def _best_first(scores: Tensor, threshold: float) -> Iterator[int]:
    for position in scores.argsort(descending=True, stable=True).tolist():
        if scores[position] >= threshold:
            yield position


def _crop(masks: Tensor, sizes: PictureSizes) -> Tensor:
    """The masks' rows and columns that hold the picture, the last ones perhaps in part."""
    height, width = masks.shape[-2:]
    rows = -(-height * sizes.valid[0] // sizes.batch[0])
    columns = -(-width * sizes.valid[1] // sizes.batch[1])
    return masks[:, :rows, :columns]


def pixel_boxes(boxes_cxcywh: Tensor, sizes: PictureSizes) -> Tensor:
    """Boxes 0..1 to xyxy pixels of the original picture, cut at its border."""
    height, width = sizes.original
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()).clamp(0, 1)
    return boxes * boxes.new_tensor([width, height, width, height])


def _instances(
    output: PanopticOutput, index: int, found: _Candidates, scores: Tensor, masks: Tensor, sizes: PictureSizes
) -> Instances:
    """The things among the selected queries, ordered by score."""
    queries = output.selection.indices[index, output.selection.valid[index]]
    things = (found.labels[: len(queries)] < output.num_things).nonzero()[:, 0]
    order = things[scores[things].argsort(descending=True, stable=True)]
    places = output.location.places
    located = len(places) > 0 and places.shape[-1] == 4
    boxes = pixel_boxes(places[-1, index, queries[order]], sizes) if located else mask_boxes(masks[order])
    return Instances(
        masks[order].numpy(force=True),
        boxes.numpy(force=True),
        found.labels[order].numpy(force=True),
        scores[order].numpy(force=True),
    )
