"""Panoptic images of Cityscapes, made from its maps of instances and labels: 8 things and 11 classes of stuff.

`find_source` lists a split, and `CityscapesInspector` verifies one image and draws its panoptic map by the rule of
`panoptic.datasets.cityscapes.labels`. Image ids are the names without city and suffix (`aachen_000000_000019`). In the
panoptic JSON, `file_name` of an image is its path below leftImg8bit/<split>, where cityscapesScripts writes a name that
no file has (`..._gtFine_leftImg8bit.png`); all else that both write is equal.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from panoptic.datasets.cityscapes.labels import CATEGORIES, check_labels, draw_segments, list_segments
from panoptic.datasets.cityscapes.layout import AGAIN, CityscapesSplit, find_cityscapes_split, find_images
from panoptic.datasets.coco import ImageSource, VerifiedImage
from panoptic.datasets.label_maps import read_maps
from panoptic.format.id_map import encode_id_map
from panoptic.index import ImageRecord


def find_source(root: Path, split: str) -> ImageSource:
    """List the images of a split below `root`.

    Raises `DatasetError` like `find_cityscapes_split` and `find_images`.
    """
    parts = find_cityscapes_split(root, split)
    inspect = CityscapesInspector(parts)
    verifiers = [partial(inspect, stem) for stem in find_images(parts)]
    return ImageSource(CATEGORIES, parts.images.path, None, verifiers, (parts.images.path, parts.labels.path))


@dataclass(frozen=True)
class CityscapesInspector:
    """Makes the panoptic image of a stem; it is pickled as paths, whose files each process opens once."""

    split: CityscapesSplit

    def __call__(self, stem: str) -> VerifiedImage:
        """Verify an image and draw its map.

        Raises `DatasetError` if the image or one of its maps is missing, damaged, of another size or otherwise wrong.
        """
        maps = self.split.instances, self.split.labels
        size, (instance_map, label_map) = read_maps(self.split.images, maps, stem, AGAIN)
        instances, labels = instance_map.decode_gray(np.uint16), label_map.decode_gray(np.uint8)
        ids = draw_segments(instances, instance_map.where)
        check_labels(labels, instances, label_map.where, instance_map.where)
        name = stem.rpartition("/")[2]
        mask_name = f"{name}_gtFine_panoptic.png"
        record = ImageRecord(name, self.split.images.name(stem), mask_name, *size, list_segments(ids))
        return VerifiedImage(record, ids, encode_id_map(ids))
