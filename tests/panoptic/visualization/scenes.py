"""Id maps to draw."""

import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment
from tests.tiny_dataset import CATEGORIES

TABLE = CategoryTable.from_json(CATEGORIES)
STAR, BALL, SKY, WATER = 7, 3, 11, 20


def mosaic(height: int, width: int, count: int, seed: int = 0) -> tuple[NDArray[np.int32], list[ResultSegment]]:
    """Segments around random points, with large ids, of things and stuff, with a band of void below."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, height, count), rng.uniform(0, width, count)
    rows, columns = np.mgrid[:height, :width]
    nearest = ((rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2).argmin(axis=2)
    names = rng.choice(1 << 24, count, replace=False).astype(np.int32) | 1
    ids = names[nearest]
    ids[height - height // 8 :] = 0
    drawn = set(np.unique(ids).tolist())
    categories = [STAR, BALL, BALL, WATER, BALL]
    segments = [
        ResultSegment(key, categories[place % len(categories)], score=1 - place / count)
        for place, key in enumerate(names.tolist())
        if key in drawn
    ]
    return ids, segments
