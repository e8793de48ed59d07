"""From a split in COCO panoptic layout to its index, looking at every picture on the way.

Areas and boxes are measured in the PNGs; what the JSON says about them is not used.
"""

from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from panoptic.annotations import Annotation, ImageEntry, PanopticAnnotations, check_drawn, read_annotations
from panoptic.errors import DatasetError, Faults
from panoptic.files import FileSource, open_files
from panoptic.id_map import decode_id_map
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.reader import decode_image
from panoptic.segments import Segment, measure_segments


def build_index(panoptic_json: Path, masks: Path, images: Path, progress: bool = False) -> PanopticIndex:
    """Verify a split and return its index, pictures in the order of the JSON.

    `masks` and `images` are folders or zip files. Raises `DatasetError` with the faults of all pictures together:
    a missing, damaged or unsuitable PNG, ids drawn but not listed or listed but not drawn, a missing image, sizes
    that differ between JSON, PNG and image, a picture without annotation or the reverse.
    """
    annotations = read_annotations(panoptic_json)
    assert annotations.categories is not None
    mask_files, image_files = open_files(masks), open_files(images)
    present = frozenset(image_files.names())
    faults = Faults()
    _check_pairs(annotations, faults)
    records = []
    listed = [annotation for annotation in annotations.annotations if annotation.image_id in annotations.images]
    for annotation in tqdm(listed, desc=f"verify {panoptic_json.stem}", unit="picture", disable=not progress):
        entry = annotations.images[annotation.image_id]
        with faults.collected():
            _check_image(entry, image_files, present)
        with faults.collected():
            records.append(_record(entry, annotation, mask_files))
    faults.raise_if_any(str(panoptic_json))
    return PanopticIndex(annotations.categories, images, masks, tuple(records))


def _check_pairs(annotations: PanopticAnnotations, faults: Faults) -> None:
    """Images and annotations must name each other, and no two annotations the same PNG."""
    annotated = annotations.by_image
    for image_id, entry in annotations.images.items():
        if image_id not in annotated:
            faults.add(f"image id {image_id} ({entry.file_name}) has no annotation; add it or remove the image")
    owners: dict[str, int] = {}
    for annotation in annotations.annotations:
        if annotation.image_id not in annotations.images:
            faults.add(f"annotation of image id {annotation.image_id}: not in 'images'; add the image there")
        owner = owners.setdefault(annotation.file_name, annotation.image_id)
        if owner != annotation.image_id:
            both = f"{owner} and {annotation.image_id}"
            faults.add(f"{annotation.file_name}: named by the annotations of images {both}; give each its own PNG")


def _check_image(entry: ImageEntry, files: FileSource, present: frozenset[str]) -> None:
    """The image must be there, whole, and of the size that the JSON gives."""
    where = f"{files.path}: {entry.file_name}"
    if entry.file_name not in present:
        raise DatasetError(f"{where}: the image is missing; add it or remove its entry (id {entry.id}) from the JSON")
    data = files.read(entry.file_name)
    try:
        with Image.open(BytesIO(data)) as header:
            width, height = header.size
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError):
        raise DatasetError(f"{where}: not an image that can be read; replace the file") from None
    # The size first: what claims to be enormous is never unpacked.
    _check_size(height, width, entry, where)
    decode_image(data, where)


def _record(entry: ImageEntry, annotation: Annotation, masks: FileSource) -> ImageRecord:
    where = f"{masks.path}: {annotation.file_name}"
    ids = decode_id_map(masks.read(annotation.file_name), where)
    height, width = ids.shape
    _check_size(height, width, entry, where)
    extents = measure_segments(ids)
    check_drawn(extents.keys(), annotation, where)
    segments = tuple(
        Segment(label.id, label.category_id, label.is_crowd, extents[label.id].area, extents[label.id].box_xywh)
        for label in annotation.segments
    )
    return ImageRecord(entry.id, entry.file_name, annotation.file_name, entry.height, entry.width, segments)


def _check_size(height: int, width: int, entry: ImageEntry, where: str) -> None:
    if (height, width) != (entry.height, entry.width):
        sizes = f"{height} x {width} (height x width), but the JSON says {entry.height} x {entry.width}"
        raise DatasetError(f"{where}: the size is {sizes}; correct the file or the JSON")
