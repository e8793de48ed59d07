"""Cityscapes in its official layout, with a few small images that have all labels: plain, as groups, and as instances.

    python -m tests.drawn_cityscapes FOLDER

draws it, for a look or for the commands. The maps are the same everywhere, as no random numbers are in them.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.archive_files import png

CITIES = {"train": ("aachen", "ulm"), "val": ("munster",), "test": ("bonn",)}
STEMS = {
    split: tuple(f"{city}/{city}_00000{frame}_000019" for city in cities for frame in range(2))
    for split, cities in CITIES.items()
}
HEIGHT, WIDTH, SIDE = 64, 128, 8
# Every label, which is a group where it is a thing's, and instances, of which caravans (29) and trailers (30) are void.
_INSTANCES = (24_000, 24_001, 25_000, 26_000, 26_002, 26_003, 27_000, 28_000, 29_000, 30_000, 31_001, 32_000, 33_999)
VALUES = (*range(34), *_INSTANCES)


def draw_instances(number: int) -> NDArray[np.uint16]:
    """Draw the instance map of image `number` of a split: tiles of all values in the first, of fewer in the second."""
    values = np.array(VALUES[number :: 1 + number], np.uint16)
    rows, columns = np.indices((HEIGHT // SIDE, WIDTH // SIDE))
    tiles = values[(rows * columns.shape[1] + columns) * 5 % len(values)]
    return np.ascontiguousarray(tiles.repeat(SIDE, axis=0).repeat(SIDE, axis=1))


def labels_of(instances: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The label map that belongs to an instance map."""
    return np.where(instances < 1000, instances, instances // 1000).astype(np.uint8)


def write_cityscapes(root: Path) -> Path:
    """Write all splits below `root`. As in the archives, the maps of the test split are dummies, without a label."""
    rng = np.random.default_rng(0)
    for split, stems in STEMS.items():
        for number, stem in enumerate(stems):
            instances = draw_instances(number % 2) if split != "test" else np.zeros((HEIGHT, WIDTH), np.uint16)
            labels = labels_of(instances)
            colors = rng.integers(30, 226, size=(34, 3))
            image = (colors[labels] + rng.integers(-20, 21, size=(HEIGHT, WIDTH, 3))).astype(np.uint8)
            files = {
                f"leftImg8bit/{split}/{stem}_leftImg8bit.png": png(image),
                f"gtFine/{split}/{stem}_gtFine_instanceIds.png": png(instances),
                f"gtFine/{split}/{stem}_gtFine_labelIds.png": png(labels),
                f"gtFine/{split}/{stem}_gtFine_color.png": png(image),
                f"gtFine/{split}/{stem}_gtFine_polygons.json": b"{}",
            }
            for name, content in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
    return root


if __name__ == "__main__":
    write_cityscapes(Path(sys.argv[1]))
