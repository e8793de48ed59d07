"""Copy-paste augmentation: things of one image, pasted into another (Ghiasi et al., CVPR 2021).

Few images show things in few surroundings, which a network learns with them. Edges are not blended, which makes no
difference according to the paper.
"""

from collections.abc import Container
from dataclasses import replace
from itertools import count, islice

import numpy as np

from panoptic.data.reader import Sample
from panoptic.data.transforms import remeasured, resize
from panoptic.format.id_map import VOID

PASTED = 0.5
"""Probability of each thing to be pasted."""
LEAST_VISIBLE = 0.1
"""Fraction of its area that a segment must keep; one that keeps less can hardly be recognized, and becomes void."""


def paste_things(sample: Sample, source: Sample, rng: np.random.Generator, things: Container[int]) -> Sample:
    """Paste some things of `source` over `sample`; the source is scaled to fit into the sample, at a random offset.

    Args:
        sample: unchanged; the result has its size.
        source: where the things come from.
        rng: equal states give equal results.
        things: category ids of things. Crowds are never pasted.
    """
    source = _fitting(source, sample.record.height, sample.record.width)
    candidates = [one for one in source.record.segments if one.category_id in things and not one.is_crowd]
    chosen = [one for one, draw in zip(candidates, rng.random(len(candidates)), strict=True) if draw < PASTED]
    top = int(rng.integers(sample.record.height - source.record.height + 1))
    left = int(rng.integers(sample.record.width - source.record.width + 1))
    if not chosen:
        return sample
    image, ids = sample.image.copy(), sample.ids.copy()
    window = slice(top, top + source.record.height), slice(left, left + source.record.width)
    taken = {one.id for one in sample.record.segments}
    free = islice((id_ for id_ in count(VOID + 1) if id_ not in taken), len(chosen))
    pasted = []
    for segment, id_ in zip(chosen, free, strict=True):
        mask = source.ids == segment.id
        image[window][mask] = source.image[mask]
        ids[window][mask] = id_
        pasted.append(replace(segment, id=id_))
    segments = (*sample.record.segments, *pasted)
    merged = remeasured(image, ids, replace(sample.record, segments=segments))
    return _without_slivers(merged, {one.id: one.area for one in segments})


def _fitting(source: Sample, height: int, width: int) -> Sample:
    scale = min(height / source.record.height, width / source.record.width)
    size = (max(1, int(side * scale)) for side in (source.record.height, source.record.width))
    return source if scale == 1 else resize(source, *size)


def _without_slivers(sample: Sample, areas: dict[int, int]) -> Sample:
    """Make segments void of which too little is left of these areas."""
    slivers = [one.id for one in sample.record.segments if one.area < LEAST_VISIBLE * areas[one.id]]
    if not slivers:
        return sample
    ids = np.where(np.isin(sample.ids, slivers), VOID, sample.ids)
    return remeasured(sample.image, ids, sample.record)
