"""A drawn dataset of COCO's usual image size."""

import zipfile
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.evaluation.make_files import LabeledMap, draw_map, drawn_categories, paint
from panoptic.format.id_map import encode_id_map
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord, PanopticIndex

JPEG_QUALITY = 92  # some 130 kB an image, as in COCO


def write_dataset(folder: Path, count: int) -> Path:
    """Draw images and id maps into two zip files, and return their index."""
    rng = np.random.default_rng(0)
    images, masks = folder / "images.zip", folder / "masks.zip"
    records = []
    with zipfile.ZipFile(images, "w") as packed_images, zipfile.ZipFile(masks, "w") as packed_masks:
        for number in tqdm(range(count), desc="draw", unit="image"):
            drawn = draw_map(rng)
            painted = cv2.cvtColor(paint(drawn.ids, rng), cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", painted, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
            packed_images.writestr(f"{number}.jpg", jpeg)
            packed_masks.writestr(f"{number}.png", encode_id_map(drawn.ids))
            records.append(_record(number, drawn))
    index = folder / "train.index"
    PanopticIndex(drawn_categories(), images, masks, tuple(records)).save(index)
    return index


def _record(number: int, drawn: LabeledMap) -> ImageRecord:
    extents = measure_segments(drawn.ids)
    segments = tuple(
        Segment(one.id, one.category_id, one.is_crowd, extents[one.id].area, extents[one.id].box_xywh)
        for one in drawn.segments
    )
    height, width = drawn.ids.shape
    return ImageRecord(number, f"{number}.jpg", f"{number}.png", height, width, segments)
