"""Files to browse: predictions that are the ground truth shifted a little, clean and corrupted."""

from pathlib import Path

import numpy as np

from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment, write_results
from panoptic.index import PanopticIndex
from panoptic.robustness.corrupted_split import CorruptedSplit, CorruptSettings
from tests.tiny_dataset import CATEGORIES, THINGS, TinySplit, random_images, write_split

TABLE = CategoryTable.from_json(CATEGORIES)


def write_predictions(
    split: TinySplit, folder: Path, images: slice = slice(None), shift: int = 1, swap: bool = False
) -> None:
    """Write the ground truth of some images, shifted a little, as predictions; every second segment has a score.

    `swap` gives each thing the other class.
    """
    index = build_index(split.panoptic_json, split.masks, split.images)
    reader = PanopticReader(index)
    with write_results(folder / "panoptic.json", folder / "panoptic", TABLE) as writer:
        for record in index.records[images]:
            ids = np.roll(reader.id_map(record), shift, 1)
            segments = [
                ResultSegment(one.id, _swapped(one.category_id, swap), score=0.5 if number % 2 else None)
                for number, one in enumerate(record.segments)
            ]
            writer.add(record.image_id, f"{record.image_id}.png", ids, segments)


def _swapped(category_id: int, swap: bool) -> int:
    return THINGS[1 - THINGS.index(category_id)] if swap and category_id in THINGS else category_id


def write_browse_inputs(root: Path) -> None:
    """Six images, their predictions in `predict/`, and two variants of the first two in `robustness/`."""
    split = write_split(root / "data", "val", random_images(3, 6))
    build_index(split.panoptic_json, split.masks, split.images).save(root / "val.index")
    index = PanopticIndex.load(root / "val.index")
    write_predictions(split, root / "predict", swap=True)
    settings = CorruptSettings(corruptions=["contrast"], severities=[2, 5], archives=False)
    (root / "corrupt").mkdir()
    (root / "corrupt" / "manifest.json").write_bytes(CorruptedSplit.choose(index, settings).to_json())
    for severity, shift in ((2, 2), (5, 6)):
        write_predictions(split, root / "robustness" / f"contrast_{severity}", slice(2), shift)
    write_predictions(split, root / "other", shift=3)
    (root / "params.yaml").write_text("browse: {}\n")
