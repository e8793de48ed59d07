"""Small datasets as users bring them: images with LabelMe files, or with COCO's instance format."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic.datasets.layout import find_split
from panoptic.format.annotations import Annotation, check_drawn, read_annotations
from panoptic.format.id_map import decode_id_map
from panoptic.format.segments import AnnotatedSegment
from panoptic.io.files import open_files

HEIGHT, WIDTH = 24, 32
CLASSES = "things: [coin, key]\nstuff: [table, paper]\nvoid: [unsure]\n"


def write_image(path: Path, height: int = HEIGHT, width: int = WIDTH, orientation: int = 1) -> Path:
    """Write an image of noise with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.stem)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise).save(path, exif=exif)
    return path


def shape(label: str, shape_type: str, points: Sequence[Sequence[float]], **more: object) -> dict[str, object]:
    """Describe a shape as LabelMe does."""
    fields: dict[str, object] = {
        "label": label,
        "points": points,
        "group_id": None,
        "shape_type": shape_type,
        "flags": {},
    }
    return fields | {"mask": None} | more


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """List the two corners of a box."""
    return [[left, top], [right, bottom]]


def write_labelme(folder: Path, name: str, shapes: Sequence[dict[str, object]], **more: object) -> Path:
    """Write an image, unless it exists, and its LabelMe file."""
    image = folder / name
    if not image.exists():
        write_image(image)
    fields = {"imagePath": image.name, "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path = image.with_suffix(".json")
    path.write_text(json.dumps({"version": "5.5.0", "flags": {}, "shapes": list(shapes)} | fields | more))
    return path


def write_coco(folder: Path, annotations: Sequence[dict[str, object]], names: Sequence[str] = ("a.png",)) -> Path:
    """Write images to `folder`/images and the instance JSON; image ids count from 10."""
    for name in names:
        write_image(folder / "images" / name)
    images = [
        {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH} for image_id, name in enumerate(names, 10)
    ]
    categories = [{"id": 5, "name": "coin"}, {"id": 9, "name": "key"}]
    listed = [{"id": index, "image_id": 10, "category_id": 5} | fields for index, fields in enumerate(annotations)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": listed, "categories": categories}))
    return path


def write_classes(folder: Path, text: str = CLASSES) -> Path:
    path = folder / "classes.yaml"
    path.write_text(text)
    return path


@dataclass(frozen=True)
class ReadImage:
    """An image of a written split: its annotation, and the segment id and class name of each pixel."""

    annotation: Annotation
    ids: NDArray[np.int32]
    names: NDArray[np.str_]

    def area(self, name: str) -> int:
        """Count the pixels of a class."""
        return int((self.names == name).sum())

    def count(self, name: str) -> int:
        """Count the segments of a class."""
        return len(set(self.ids[self.names == name].tolist()))


def read_split(root: Path, split: str = "train") -> dict[str, ReadImage]:
    """Read a split in the layout that the stages expect, by image name; asserts that JSON and id maps agree."""
    files = find_split(root, split)
    read = read_annotations(files.panoptic_json)
    masks, categories = open_files(files.masks), read.categories
    assert categories is not None
    found = {}
    for annotation in read.annotations:
        image = read.images[annotation.image_id]
        ids = decode_id_map(masks.read(annotation.file_name), annotation.file_name)
        assert ids.shape == (image.height, image.width)
        assert Image.open(files.images / image.file_name).size == (image.width, image.height)
        check_drawn(set(ids.ravel().tolist()), annotation, annotation.file_name)
        names = np.full(ids.shape, "", "U40")
        for segment in annotation.segments:
            names[ids == segment.id] = categories.by_id(segment.category_id).name
            assert isinstance(segment, AnnotatedSegment)
            assert segment.area == (ids == segment.id).sum()
        found[image.file_name] = ReadImage(annotation, ids, names)
    return found
