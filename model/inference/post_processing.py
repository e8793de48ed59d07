"""Turn a network's output into panoptic maps and instances at the original size of each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.boxes import cxcywh_to_xyxy
from model.inference.bit_masks import BitMasks, MapMasks, Size, segment_masks, unpack_each
from model.inference.merging import Candidates, Merged, MergingSettings, PredictedSegment, merge
from model.network.outputs import PanopticOutput
from panoptic.data.target import mask_boxes
from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of one image as (height, width): of its padded batch, of its part without padding, and as read."""

    batch: Size
    valid: Size
    original: Size


@dataclass(frozen=True)
class Instances:
    """All selected things of one image before merging, best score first; the merging method does not matter."""

    bits: BitMasks | MapMasks  # N of them
    boxes_xyxy: npt.NDArray[np.float32]  # (N, 4) pixels of the original image; of the mask where none is predicted
    labels: npt.NDArray[np.int64]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) class probability^alpha x mask quality^beta

    @property
    def masks(self) -> npt.NDArray[np.bool_]:
        """Masks (N, H, W), unpacked only on request: panoptic results do not need them."""
        return self.bits.unpack()

    def each_mask(self) -> Iterator[npt.NDArray[np.bool_]]:
        """Unpack one mask (H, W) after the other: all of a large image do not fit in memory."""
        return unpack_each(self.bits)


@dataclass(frozen=True)
class PanopticPrediction:
    """Result for one image, at its original size."""

    ids: npt.NDArray[np.int32]  # (H, W) 0 = void, else the id of a segment
    segments: tuple[PredictedSegment, ...]  # ids 1..n, best score first
    instances: Instances
    queries: Tensor | None  # (candidates, C) float32 on the host; None where the network's output lacks them

    def result_segments(self, categories: CategoryTable) -> tuple[ResultSegment, ...]:
        """Return the segments with the ids of their categories instead of labels."""
        return tuple(
            ResultSegment(one.id, categories.category_of(one.label).id, score=one.score) for one in self.segments
        )

    def embedding(self, segment: PredictedSegment) -> npt.NDArray[np.float32] | None:
        """Vector (C,) of the query that stands for a segment; for stuff of several masks, of its best one."""
        return None if self.queries is None else self.queries[segment.candidate].numpy()


@dataclass(frozen=True)
class FoundMasks:
    """What the network found in one image, before merging; on its device, as merging resizes and compares masks there.

    Kept, they can be merged again with other settings, without the network.
    """

    masks: Tensor  # (N, h, w) without padding, of the selected queries, then of stuff classes with own queries
    labels: Tensor  # (N,) things 0..num_things-1, stuff from there on
    probabilities: Tensor  # (N,) of the class
    boxes_cxcywh: Tensor | None  # (selected, 4) in 0..1; None where the network predicts none
    queries: Tensor | None  # (N, C) states; None where the network's output lacks them
    selected: int  # number of the selected queries
    num_things: int
    sizes: ImageSizes
    query_numbers: Tensor | None = field(default=None, kw_only=True)
    """(N,) which of the network's queries each is of, if known; those of stuff alone are counted after the others."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        tensors = (self.masks, self.labels, self.probabilities, self.boxes_cxcywh, self.queries, self.query_numbers)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    @torch.no_grad()
    def merge(self, settings: MergingSettings) -> PanopticPrediction:
        """Merge the masks into a panoptic map at the original size."""
        inside, quality = segment_masks(self.masks, self.sizes.original, settings.mask_threshold)
        labels, probabilities = self.labels.cpu(), self.probabilities.cpu()
        scores = probabilities**settings.alpha * quality**settings.beta
        candidates = Candidates(self.masks, inside, labels, probabilities, scores, self.num_things)
        ids, merged = self._merged(candidates, settings)
        segments = self._with_queries(merged)
        queries = None if self.queries is None else self.queries.cpu()
        return PanopticPrediction(ids, segments, self._instances(candidates), queries)

    def _merged(self, candidates: Candidates, settings: MergingSettings) -> Merged:
        return merge(candidates, settings)

    def _with_queries(self, segments: tuple[PredictedSegment, ...]) -> tuple[PredictedSegment, ...]:
        if self.query_numbers is None:
            return segments
        numbers = self.query_numbers.tolist()
        return tuple(replace(segment, query=numbers[segment.candidate]) for segment in segments)

    def _instances(self, candidates: Candidates) -> Instances:
        """Collect the things among the selected queries, ordered by score."""
        labels, scores = candidates.labels, candidates.scores
        things = (labels[: self.selected] < self.num_things).nonzero()[:, 0]
        order = things[scores[things].argsort(descending=True, stable=True)]
        chosen = candidates.inside[order.numpy()]
        if self.boxes_cxcywh is None:
            boxes = mask_boxes(unpack_each(chosen))
        else:
            boxes = pixel_boxes(self.boxes_cxcywh.cpu()[order], self.sizes).numpy()
        return Instances(chosen, boxes, labels[order].numpy(), scores[order].numpy())


def predict_panoptic(
    output: PanopticOutput,
    sizes: Sequence[ImageSizes],
    settings: MergingSettings,
    crop_padding: bool = True,
) -> tuple[PanopticPrediction, ...]:
    """Predict the panoptic maps of a batch from its output.

    Args:
        output: of the network.
        sizes: of each image of the batch.
        settings: method and thresholds.
        crop_padding: False resizes masks with their padding, as the published code does. That is wrong for
            padded images and only serves to compare with it.
    """
    return tuple(find_masks(output, index, size, crop_padding).merge(settings) for index, size in enumerate(sizes))


@torch.no_grad()
def find_masks(output: PanopticOutput, index: int, sizes: ImageSizes, crop_padding: bool = True) -> FoundMasks:
    """Take what was found in one image of a batch out of its output; see `predict_panoptic`."""
    chosen = output.selection.valid[index].nonzero()[:, 0]  # once, as a GPU's host waits for the number of them
    masks, labels, probabilities = _found(output, index, chosen)
    if crop_padding:
        masks = crop_masks(masks, sizes)
    queries = output.selection.indices[index, chosen]
    predicted = output.location.boxes
    boxes = predicted[-1, index, queries] if len(predicted) and predicted.shape[-1] == 4 else None
    states = _candidate_queries(output, index, chosen)
    return FoundMasks(
        *(masks, labels, probabilities, boxes, states, len(queries), output.num_things, sizes),
        query_numbers=_query_numbers(output, queries),
    )


def _query_numbers(output: PanopticOutput, selected: Tensor) -> Tensor | None:
    """Number the queries of the masks that `_found` takes: the selected ones, then those of stuff alone."""
    if output.total_queries is None:
        return None
    stuff = 0 if output.stuff_logits is None else output.stuff_logits.shape[-1]
    return torch.cat((selected, output.total_queries + torch.arange(stuff, device=selected.device)))


def _found(output: PanopticOutput, index: int, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (N, h, w), labels and probabilities of the selected queries, then of the stuff classes with own queries."""
    labels, probabilities, mask_indices = (
        part[index, chosen]
        for part in (output.selection.labels, output.selection.scores, output.selection.mask_indices)
    )
    masks = output.query_masks.final_of(index, mask_indices)
    if output.stuff is not None and output.stuff_logits is not None:
        stuff_labels = output.num_things + torch.arange(output.stuff_logits.shape[-1], device=labels.device)
        labels = torch.cat((labels, stuff_labels))
        probabilities = torch.cat((probabilities, output.stuff_logits[-1, index].sigmoid()))
        masks = torch.cat((masks, output.stuff.final_of(index)))
    return masks.float(), labels, probabilities.float()


def _candidate_queries(output: PanopticOutput, index: int, chosen: Tensor) -> Tensor | None:
    """States (candidates, C) of the queries that `_found` takes masks of, after the last layer that changed them."""
    if not output.location.queries.numel():
        return None
    states = selected_queries(output)[index, chosen]
    if output.stuff is not None:
        states = torch.cat((states, output.stuff.queries[-1, index]))
    return states.float()


def selected_queries(output: PanopticOutput) -> Tensor:
    """States (B, N, C) of the selected queries, after the last layer that changed them."""
    selection, refined = output.selection, output.query_masks.queries
    states, indices = refined[-1] if len(refined) else output.location.queries, selection.indices
    if len(refined) and output.query_class_logits is None:
        indices = selection.mask_indices
    return states.gather(1, indices[..., None].expand(-1, -1, states.shape[-1]))


def crop_masks(masks: Tensor, sizes: ImageSizes) -> Tensor:
    """Keep the rows and columns of the masks that the image covers, at least in part."""
    height, width = masks.shape[-2:]
    rows = -(-height * sizes.valid[0] // sizes.batch[0])
    columns = -(-width * sizes.valid[1] // sizes.batch[1])
    return masks[:, :rows, :columns]


def pixel_boxes(boxes_cxcywh: Tensor, sizes: ImageSizes) -> Tensor:
    """Convert boxes in 0..1 to xyxy pixels of the original image, clipped to it."""
    height, width = sizes.original
    boxes = cxcywh_to_xyxy(boxes_cxcywh.float()).clamp(0, 1)
    return boxes * boxes.new_tensor([width, height, width, height])
