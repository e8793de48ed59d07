"""Merging as a specification: the rules of `model.inference.merging` on plain boolean masks, one mask at a time.

Written to be read beside the paper (section 3.5, algorithm 1) and to be tested against; it waits for the device several
times per mask. Shapes: N candidates, things and stuff together; (H, W) is the size of the image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.inference.bit_masks import Size, resized
from model.inference.merging import SMALL, Merged, MergingSettings, PredictedSegment


def segment_masks(masks: Tensor, size: Size, threshold: float) -> tuple[Tensor, Tensor]:
    """Resize masks (N, h, w) and threshold them.

    Returns:
        Where each mask is above the threshold, (N, H, W) bool, and its quality (N,): the mean of its values there,
        with one pixel more in the denominator.
    """
    inside = torch.empty((len(masks), *size), dtype=torch.bool, device=masks.device)
    quality = masks.new_empty(len(masks))
    for part, values in resized(masks, size):
        torch.gt(values, threshold, out=inside[part])
        total = (values * inside[part]).flatten(1).sum(1)
        quality[part] = total / (inside[part].flatten(1).sum(1) + 1)
    return inside, quality


def merge_masks(inside: Tensor, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings) -> Merged:
    """Merge masks (N, H, W) bool by the paper's algorithm 1, method `mask`."""
    ids = torch.zeros(inside.shape[1:], dtype=torch.int32, device=inside.device)
    kept: list[int] = []  # the candidate that each segment started from
    for index in scores.argsort(descending=True, stable=True).tolist():
        if scores[index] < settings.score_threshold:
            break
        mask, label = inside[index], int(labels[index])
        is_thing = label < num_things
        # All masks of a stuff class make one segment, so they take no pixels from each other.
        joined = next((id_ for id_, first in enumerate(kept, 1) if labels[first] == label and not is_thing), 0)
        free = mask & (ids == 0)
        lost = mask & (ids != 0) & (ids != joined)
        if not free.any() or int(lost.sum()) / int(mask.sum()) > settings.allowed_overlap(is_thing):
            continue
        if not joined:
            kept.append(index)
        ids[free] = joined or len(kept)
    return _merged(ids, kept, scores, labels, num_things)


def merge_masks_by_pixel(
    masks: Tensor, size: Size, scores: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> Merged:
    """Keep the segments of `merge_masks` and compare their masks (N, h, w) at every pixel, method `mask_pixel`."""
    inside, _ = segment_masks(masks, size, settings.mask_threshold)
    _, segments = merge_masks(inside, scores, labels, num_things, settings)
    best = torch.full(size, settings.pixel_threshold, device=masks.device)
    ids = torch.zeros(size, dtype=torch.int32, device=masks.device)
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if scores[index] < settings.score_threshold:
            break
        label = int(labels[index])
        found = [s.id for s in segments if s.candidate == index or (s.label == label and label >= num_things)]
        if found:
            (_, values), *_ = resized(masks[index : index + 1], size)
            higher = values[0] > best
            best[higher], ids[higher] = values[0][higher], found[0]
    for segment in segments:
        mine = ids == segment.id
        if mine.any():
            kept.append(segment.candidate)
            ids[mine] = len(kept)
    return _merged(ids, kept, scores, labels, num_things)


def merge_pixels(
    masks: Tensor, size: Size, probabilities: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> Merged:
    """Merge masks (N, h, w) by an argmax at every pixel, methods `pixel` and `pixel_class`."""
    ids = torch.zeros(size, dtype=torch.int32, device=masks.device)
    kept: list[int] = []
    order = probabilities.argsort(descending=True, stable=True)
    taking_part = order[probabilities[order] >= settings.score_threshold]
    if not len(taking_part):
        return _merged(ids, kept, probabilities, labels, num_things)
    values = torch.cat([part for _, part in resized(masks[taking_part], size)])
    weights = probabilities[taking_part, None, None]
    ranks = values if settings.method == "pixel" else values.clamp(max=1) * weights
    inside = values > settings.mask_threshold
    # NumPy's argmax is the first of equal values, hence the most probable candidate.
    winners = torch.from_numpy(ranks.numpy(force=True).argmax(0)).to(masks.device)
    nobody = ~inside.gather(0, winners[None])[0]
    labels_in_order = labels[taking_part].tolist()
    for position, label in enumerate(labels_in_order):
        is_thing = label < num_things
        members = [position] if is_thing else [other for other, same in enumerate(labels_in_order) if same == label]
        if position != members[0]:
            continue  # a stuff class becomes one segment, where its most probable candidate stands
        owned = torch.isin(winners, torch.tensor(members, device=masks.device)) & ~nobody
        area, owned_area = int(inside[members].any(0).sum()), int(owned.sum())
        if owned_area == 0 or (area - owned_area) / area > settings.allowed_overlap(is_thing):
            continue
        kept.append(int(taking_part[position]))
        ids[owned] = len(kept)
    return _merged(ids, kept, probabilities, labels, num_things)


def merge_detr(
    masks: Tensor, size: Size, probabilities: Tensor, labels: Tensor, num_things: int, settings: MergingSettings
) -> Merged:
    """Merge masks (N, h, w) by DETR's `PostProcessPanoptic`, method `detr`."""
    ids = torch.zeros(size, dtype=torch.int32, device=masks.device)
    order = probabilities.argsort(descending=True, stable=True)
    kept: list[int] = order[probabilities[order] >= settings.score_threshold].tolist()
    is_first_comparison = True
    while kept:
        values = torch.cat([part for _, part in resized(masks[kept], size)])
        winners = torch.from_numpy(values.numpy(force=True).argmax(0)).to(masks.device)
        if is_first_comparison:
            for position, index in enumerate(kept):
                first = [labels[other] for other in kept].index(labels[index])
                if labels[index] >= num_things:  # a stuff class becomes one segment
                    winners[winners == position] = first
        is_first_comparison = False
        large = [position for position in range(len(kept)) if (winners == position).sum() > SMALL]
        if len(large) == len(kept):
            ids = (winners + 1).int()
            break
        kept = [kept[position] for position in large]
    return _merged(ids, kept, probabilities, labels, num_things)


def _merged(ids: Tensor, kept: Sequence[int], scores: Tensor, labels: Tensor, num_things: int) -> Merged:
    """Describe the segments of a map: segment i+1 has the label and score of candidate `kept[i]`."""
    counts = torch.bincount(ids.flatten(), minlength=len(kept) + 1).tolist()[1:]
    segments = (
        PredictedSegment(id_, int(labels[index]), float(scores[index]), area, bool(labels[index] < num_things), index)
        for id_, (index, area) in enumerate(zip(kept, counts, strict=True), 1)
    )
    return ids.numpy(force=True), tuple(segments)
