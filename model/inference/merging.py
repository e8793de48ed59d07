"""Masks and class probabilities to one panoptic map (paper, section 3.5 and algorithm 1).

Three methods: `mask` (m), the paper's: masks are laid on the map whole, best score first; and those that the paper
compares it with, `pixel` (p), DETR's, and `pixel_class` (p*), MaskFormer's: an argmax over the masks at every pixel.

Unlike the paper's text, things keep at least 0.6 and stuff 0.8 of their area, there is no minimum area, and a
mask's quality counts one pixel more than it has. COCO's format has every stuff class once in an image, so where
several queries find one stuff class they make one segment; what belongs to it already is not taken from them.

Masks are resized, cut and measured on the device, which packs them into bits; these come to the host at once. There
whole masks are laid in words of 64 pixels: one by one, but in microseconds, and without asking the device again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.boxes import cxcywh_to_xyxy
from model.inference.bit_masks import BitMasks, Size, areas, pixel_owners, segment_masks, unpack
from model.network.outputs import PanopticOutput
from panoptic.data.target import mask_boxes

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
        """Refuse what no image could be merged with."""
        if self.method not in METHODS:
            raise ValueError(f"merging.method is {self.method!r}; choose one of {', '.join(METHODS)}")
        for name in ("score_threshold", "mask_threshold", "overlap_things", "overlap_stuff"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"merging.{name} is {getattr(self, name)}; give a number from 0 to 1")
        for name in ("alpha", "beta"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"merging.{name} is {getattr(self, name)}; give a finite number of at least 0")


@dataclass(frozen=True)
class ImageSizes:
    """(height, width) of one image: of its padded batch, of its part without padding, and as it was read."""

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
    """All selected things of one image, best score first, before merging, whatever its method."""

    bits: BitMasks  # N of them
    boxes_xyxy: npt.NDArray[np.float32]  # (N, 4) pixels of the original image; of the mask where none is predicted
    labels: npt.NDArray[np.int64]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) class probability^alpha x mask quality^beta

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """(N, H, W), unpacked for who needs them: the panoptic results do not."""
        return self.bits.unpack()


@dataclass(frozen=True)
class PanopticPrediction:
    """Result for one image, at its original size."""

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
    sizes: Sequence[ImageSizes],
    settings: MergingSettings,
    crop_padding: bool = True,
) -> tuple[PanopticPrediction, ...]:
    """Panoptic maps of a batch.

    Args:
        output: of the network.
        sizes: of each image of the batch.
        settings: method and thresholds.
        crop_padding: False resizes masks with their padding, as the published code does. That is wrong for
            padded images and only serves to compare with it.
    """
    return tuple(_predict_image(output, index, size, settings, crop_padding) for index, size in enumerate(sizes))


def _predict_image(
    output: PanopticOutput, index: int, sizes: ImageSizes, settings: MergingSettings, crop_padding: bool
) -> PanopticPrediction:
    found = _candidates(output, index, sizes if crop_padding else None)
    segmented, quality = segment_masks(found.masks, sizes.original, settings.mask_threshold)
    labels, probabilities = found.labels.cpu(), found.probabilities.cpu()
    scores = probabilities**settings.alpha * quality**settings.beta
    if settings.method == "mask":
        ids, segments = merge(segmented, scores, labels, output.num_things, settings)
    else:
        weights = found.probabilities if settings.method == "pixel_class" else None
        order = _best_first(probabilities, settings.score_threshold)
        owners = pixel_owners(found.masks, weights, order, sizes.original, settings.mask_threshold)
        ids, segments = merge_owned(
            owners.numpy(force=True), segmented, probabilities, labels, output.num_things, settings
        )
    return PanopticPrediction(ids, segments, _instances(output, index, labels, scores, segmented, sizes))


def _candidates(output: PanopticOutput, index: int, crop_to: ImageSizes | None) -> _Candidates:
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
    masks: BitMasks, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]:
    """Lay masks on one map, best score first; each gets the pixels that are still free.

    Args:
        masks: N of them.
        scores: (N,) on the host, as the labels.
        labels: (N,) things 0..num_things-1, stuff from there on.
        num_things: number of thing classes.
        settings: thresholds.
    """
    taken = np.zeros(masks.words.shape[1], np.uint64)
    pixels: list[npt.NDArray[np.uint64]] = []  # of the segments
    segments: list[PredictedSegment] = []
    stuff_ids: dict[int, int] = {}
    for position in _best_first(scores, settings.score_threshold):
        mask = masks.words[position]
        label = int(labels[position])
        is_thing = label < num_things
        free = mask & ~taken
        area, free_area = areas(mask), areas(free)
        joined = stuff_ids.get(label)
        own_area = areas(mask & pixels[joined - 1]) if joined else 0
        allowed = settings.overlap_things if is_thing else settings.overlap_stuff
        if free_area == 0 or (area - free_area - own_area) / area > allowed:
            continue
        taken |= free
        if joined:
            pixels[joined - 1] |= free
            segments[joined - 1] = replace(segments[joined - 1], area=segments[joined - 1].area + int(free_area))
            continue
        pixels.append(free)
        segments.append(PredictedSegment(len(segments) + 1, label, float(scores[position]), int(free_area), is_thing))
        if not is_thing:
            stuff_ids[label] = len(segments)
    ids = np.zeros(masks.size, np.int32)
    for segment, words in zip(segments, pixels, strict=True):
        ids[unpack(words, masks.size)] = segment.id
    return ids, tuple(segments)


def merge_owned(
    owners: npt.NDArray[np.int64],
    masks: BitMasks,
    scores: Tensor,
    labels: Tensor,
    num_things: int,
    settings: MergingSettings,
) -> tuple[npt.NDArray[np.int32], tuple[PredictedSegment, ...]]:
    """Segments of a map on which every pixel has its owner already.

    A segment that owns too little of the area where its own mask is above the threshold is left out, as in
    MaskFormer; nobody else gets its pixels.

    Args:
        owners: (H, W) position of the mask that a pixel belongs to, -1 for none.
        masks: where each is above the threshold.
        scores, labels, num_things, settings: as in `merge`.
    """
    owned = np.bincount(owners.ravel() + 1, minlength=len(masks) + 1)[1:]
    id_of = np.zeros(len(masks) + 1, np.int32)  # of every position; the last stands for -1
    segments: list[PredictedSegment] = []
    for members in _groups(_best_first(scores, settings.score_threshold), labels.tolist(), num_things):
        area, owned_area = areas(np.bitwise_or.reduce(masks.words[members])), int(owned[members].sum())
        label = int(labels[members[0]])
        allowed = settings.overlap_things if label < num_things else settings.overlap_stuff
        if owned_area == 0 or (area - owned_area) / area > allowed:
            continue
        id_of[members] = len(segments) + 1
        score = float(scores[members[0]])
        segments.append(PredictedSegment(len(segments) + 1, label, score, owned_area, label < num_things))
    return id_of[owners], tuple(segments)


def _groups(positions: Sequence[int], labels: Sequence[int], num_things: int) -> list[list[int]]:
    """The positions in their order, those of one stuff class together where the first of them stands."""
    groups: dict[tuple[str, int], list[int]] = {}
    for position in positions:
        label = labels[position]
        groups.setdefault(("thing", position) if label < num_things else ("stuff", label), []).append(position)
    return list(groups.values())


def _best_first(scores: Tensor, threshold: float) -> list[int]:
    """Positions of scores of at least the threshold; of equal ones the first comes first."""
    order = scores.argsort(descending=True, stable=True)
    return order[scores[order] >= threshold].tolist()


def _crop(masks: Tensor, sizes: ImageSizes) -> Tensor:
    """The masks' rows and columns that hold the image, the last ones perhaps in part."""
    height, width = masks.shape[-2:]
    rows = -(-height * sizes.valid[0] // sizes.batch[0])
    columns = -(-width * sizes.valid[1] // sizes.batch[1])
    return masks[:, :rows, :columns]


def pixel_boxes(boxes_cxcywh: Tensor, sizes: ImageSizes) -> Tensor:
    """Boxes 0..1 to xyxy pixels of the original image, cut at its border."""
    height, width = sizes.original
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()).clamp(0, 1)
    return boxes * boxes.new_tensor([width, height, width, height])


def _instances(
    output: PanopticOutput, index: int, labels: Tensor, scores: Tensor, masks: BitMasks, sizes: ImageSizes
) -> Instances:
    """The things among the selected queries, ordered by score; labels, scores and masks are of all candidates."""
    queries = output.selection.indices[index, output.selection.valid[index]].cpu()
    things = (labels[: len(queries)] < output.num_things).nonzero()[:, 0]
    order = things[scores[things].argsort(descending=True, stable=True)]
    predicted = output.location.boxes
    chosen = masks[order.numpy()]
    if len(predicted) > 0 and predicted.shape[-1] == 4:
        boxes = pixel_boxes(predicted[-1, index].cpu()[queries[order]], sizes).numpy()
    else:
        boxes = mask_boxes(chosen.unpack())
    return Instances(chosen, boxes, labels[order].numpy(), scores[order].numpy())
