"""Verifying every image of a split, to index it; here for COCO's panoptic layout.

Areas and boxes are measured in the PNGs; those in the JSON are not used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.data.decoding import verify_image
from panoptic.data.image_header import read_header
from panoptic.datasets.layout import find_split
from panoptic.format.annotations import Annotation, check_drawn, read_annotations, unpaired_entries
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map
from panoptic.format.panoptic_json import ImageEntry
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.files import FileSource, open_files, opened_files
from panoptic.io.png import claimed_header


@dataclass(frozen=True)
class VerifiedImage:
    """A sound image: its record, its (H,W) id map, and the PNG of that map if the dataset has none."""

    record: ImageRecord
    ids: NDArray[np.int32]
    png: bytes | None = None


@dataclass(frozen=True)
class ImageSource:
    """A split of any layout, before its images are read.

    Attributes:
        masks: None if the dataset has no panoptic PNGs with these classes; then the verified images have them.
        verifiers: one for each image, in the order of the index. It returns the sound image, or raises
            `DatasetError`; it can be pickled and called in any process.
        files: everything that the images are made of.
        issues: those that were found without reading images.
        instances: the dataset's own JSON of instances, which may overlap each other, if it has one.
    """

    categories: CategoryTable
    images: Path
    masks: Path | None
    verifiers: Sequence[Callable[[], VerifiedImage]]
    files: tuple[Path, ...]
    issues: tuple[str, ...] = ()
    instances: Path | None = None


def find_source(root: Path, split: str) -> ImageSource:
    """List the images of a split below `root`. Raises `DatasetError` like `find_split` and `find_images`."""
    files = find_split(root, split)
    source = find_images(files.panoptic_json, files.masks, files.images)
    return replace(source, instances=files.instances)


def find_images(
    panoptic_json: Path, masks: Path, images: Path, *, mask_folder: str = "", image_folder: str = ""
) -> ImageSource:
    """List a split in COCO's layout, in the order of the JSON; `masks` and `images` are folders or zip files.

    The names in the JSON are relative to `mask_folder` and `image_folder` in these, such as `train2017/`.
    Raises `DatasetError` if `read_annotations` refuses the JSON.
    """
    annotations = read_annotations(panoptic_json)
    assert annotations.categories is not None
    names = {annotation.image_id: annotation.file_name for annotation in annotations.annotations}
    issues = tuple(map(str, unpaired_entries(str(panoptic_json), annotations.images, names)))
    files = open_files(images), open_files(masks)
    for part in files:
        part.names()  # refuses two files of one name
    inspect = CocoInspector(*(part.path for part in files))
    verifiers = [
        partial(
            inspect,
            replace(image, file_name=f"{image_folder}{image.file_name}"),
            replace(annotation, file_name=f"{mask_folder}{annotation.file_name}"),
        )
        for annotation in annotations.annotations
        if (image := annotations.images.get(annotation.image_id))
    ]
    paths = (panoptic_json, inspect.masks, inspect.images)
    return ImageSource(annotations.categories, images, masks, verifiers, paths, issues)


def build_index(panoptic_json: Path, masks: Path, images: Path) -> PanopticIndex:
    """Verify a split in COCO's layout and return its index, in this process and in memory.

    `masks` and `images` are folders or zip files. Raises `DatasetError` with the issues of all images together: a
    missing image or PNG, one that is damaged or of the wrong type, ids drawn but not listed or listed but not drawn,
    sizes that differ between JSON, PNG and image, an image without annotation or the reverse.
    """
    source = find_images(panoptic_json, masks, images)
    issues = Issues(list(source.issues))
    records = []
    for verify in source.verifiers:
        with issues.collected():
            records.append(verify().record)
    issues.raise_if_any(str(panoptic_json))
    return PanopticIndex(source.categories, images, masks, tuple(records))


@dataclass(frozen=True)
class CocoInspector:
    """Verifies one image of a split; it is pickled as two paths, whose files each process opens once."""

    images: Path
    masks: Path

    def __call__(self, entry: ImageEntry, annotation: Annotation) -> VerifiedImage:
        """Verify an image. Raises `DatasetError` with everything that is wrong with the image and the PNG."""
        issues = Issues()
        with issues.collected():
            _check_image(entry, opened_files(self.images))
        with issues.collected():
            image = _verify_mask(entry, annotation, opened_files(self.masks))
        if issues.messages:
            raise DatasetError(*"\n    and ".join(issues.messages).split("\n"))
        return image


def _check_image(entry: ImageEntry, files: FileSource) -> None:
    """Raise `DatasetError` unless the image exists, is undamaged, and has the size that the JSON says."""
    where = f"{files.path}: {entry.file_name}"
    try:
        data = files.read(entry.file_name)
    except DatasetError as error:
        raise DatasetError(f"{error}; or remove the image's entry (id {entry.id}) from the JSON") from None
    header = read_header(BytesIO(data), where)
    # The size first: a file that claims to be enormous is never decoded.
    _check_size(header.height, header.width, entry, where)
    verify_image(data, where)


def _verify_mask(entry: ImageEntry, annotation: Annotation, masks: FileSource) -> VerifiedImage:
    where = f"{masks.path}: {annotation.file_name}"
    data = masks.read(annotation.file_name)
    if header := claimed_header(data):  # without one, decoding raises the error
        _check_size(header.height, header.width, entry, where)
    ids = decode_id_map(data, where)
    extents = measure_segments(ids)
    check_drawn(extents.keys(), annotation, where)
    segments = tuple(
        Segment(label.id, label.category_id, label.is_crowd, extents[label.id].area, extents[label.id].box_xywh)
        for label in annotation.segments
    )
    record = ImageRecord(entry.id, entry.file_name, annotation.file_name, entry.height, entry.width, segments)
    return VerifiedImage(record, ids)


def _check_size(height: int, width: int, entry: ImageEntry, where: str) -> None:
    if (height, width) != (entry.height, entry.width):
        sizes = f"{height} x {width} (height x width), but the JSON says {entry.height} x {entry.width}"
        raise DatasetError(f"{where}: the size is {sizes}; correct the file or the JSON")
