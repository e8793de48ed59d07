"""Small own data on disk, as people bring it: images with files of LabelMe, or with COCO's instance format."""

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
    """An image of noise; `orientation` is the note in a JPEG of how to show it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.stem)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise).save(path, exif=exif)
    return path


def shape(label: str, kind: str, points: Sequence[Sequence[float]], **more: object) -> dict[str, object]:
    """A shape as LabelMe writes it."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, "mask": None} | more


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    """Two corners."""
    return [[left, top], [right, bottom]]


def write_labelme(folder: Path, name: str, shapes: Sequence[dict[str, object]], **more: object) -> Path:
    """An image (unless it is there) and its LabelMe file."""
    image = folder / name
    if not image.exists():
        write_image(image)
    fields = {"imagePath": image.name, "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path = image.with_suffix(".json")
    path.write_text(json.dumps({"version": "5.5.0", "flags": {}, "shapes": list(shapes)} | fields | more))
    return path


def write_coco(folder: Path, annotations: Sequence[dict[str, object]], names: Sequence[str] = ("a.png",)) -> Path:
    """Images in `folder`/images and the instance JSON; image ids count from 10."""
    for name in names:
        write_image(folder / "images" / name)
    images = [
        {"id": 10 + place, "file_name": name, "height": HEIGHT, "width": WIDTH} for place, name in enumerate(names)
    ]
    categories = [{"id": 5, "name": "coin"}, {"id": 9, "name": "key"}]
    listed = [{"id": place, "image_id": 10, "category_id": 5} | fields for place, fields in enumerate(annotations)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": listed, "categories": categories}))
    return path


def write_classes(folder: Path, text: str = CLASSES) -> Path:
    path = folder / "classes.yaml"
    path.write_text(text)
    return path


@dataclass(frozen=True)
class ReadImage:
    """An image of a written split: its segments, which of them each pixel has, and the names of their classes."""

    annotation: Annotation
    ids: NDArray[np.int32]
    names: NDArray[np.str_]

    def area(self, name: str) -> int:
        """Pixels of a class."""
        return int((self.names == name).sum())

    def count(self, name: str) -> int:
        """Segments of a class."""
        return len(set(self.ids[self.names == name].tolist()))


def read_split(root: Path, split: str = "train") -> dict[str, ReadImage]:
    """The images of a split by name, in the layout that the stages find; what the JSON lists is what is drawn."""
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
        names = np.full(ids.shape, "", "U20")
        for segment in annotation.segments:
            names[ids == segment.id] = categories.by_id(segment.category_id).name
            assert isinstance(segment, AnnotatedSegment)
            assert segment.area == (ids == segment.id).sum()
        found[image.file_name] = ReadImage(annotation, ids, names)
    return found
