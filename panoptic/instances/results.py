"""Predicted instances in COCO's results format: a list of masks with classes and scores, checked while it is read."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pycocotools import mask as coco_mask

from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId
from panoptic.instances.rle import Rle, read_rle
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.json_fields import JsonObject, load_json

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class InstanceResult:
    """One instance of a thing. `mask` is the compressed RLE of an (H,W) mask.

    `listed_box`: left, top, width, height in pixels if a box was predicted with the mask. `where`: the file and the
    position in it, for errors.
    """

    image_id: ImageId
    category_id: int
    score: float
    mask: Rle
    listed_box: Box | None
    where: str

    @property
    def box_xywh(self) -> Box:
        """The box predicted with the mask, otherwise the bounding box of the mask."""
        return self.listed_box or cast(Box, tuple(coco_mask.toBbox(self.mask).tolist()))

    @property
    def area(self) -> float:
        """Pixels of the box predicted with the mask, otherwise of the mask, as in pycocotools."""
        if self.listed_box is not None:
            return self.listed_box[2] * self.listed_box[3]
        return int(coco_mask.area(self.mask))


def read_instance_results(path: Path, categories: CategoryTable) -> list[InstanceResult]:
    """Read a results file, leaving out stuff.

    Raises `DatasetError` with every issue found: a missing or malformed field, an unknown category, a score that is not
    finite, a mask whose runs do not fill its size.
    """
    issues = Issues()
    results = []
    for entry in listed_results(load_json(path), str(path)):
        with issues.collected():
            result = parse_result(entry)
            if result.category_id not in categories:
                raise DatasetError(
                    f"{entry.where}: unknown category {result.category_id}; use the categories of the ground truth"
                )
            if categories.by_id(result.category_id).is_thing:
                results.append(result)
    issues.raise_if_any(str(path))
    return results


def listed_results(document: object, where: str) -> Iterator[JsonObject]:
    """Yield the entries of a results file, not checked yet. Raises `DatasetError` if the document is no list."""
    if not isinstance(document, list):
        found = type(document).__name__
        raise DatasetError(f"{where}: expected a list of results, found a {found}; give COCO's results")
    yield from JsonObject({"results": document}, where).objects("results")


def masks_by_image(results: Iterable[InstanceResult]) -> dict[ImageId, list[tuple[int, Rle]]]:
    """Group category ids and masks by image id."""
    grouped: dict[ImageId, list[tuple[int, Rle]]] = defaultdict(list)
    for result in results:
        grouped[result.image_id].append((result.category_id, result.mask))
    return dict(grouped)


def parse_result(entry: JsonObject) -> InstanceResult:
    """Read an entry. Raises `DatasetError` for a missing or malformed field, or a mask that does not fill its size."""
    box: Box | None = None
    if entry.values.get("bbox"):
        left, top, width, height = entry.numbers("bbox", 4)
        box = left, top, width, height
    return InstanceResult(
        entry.identifier("image_id"),
        entry.integer("category_id"),
        entry.number("score"),
        read_rle(entry.child("segmentation")),
        box,
        entry.where,
    )
