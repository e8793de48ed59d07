"""Predictions in a folder as stages.predict writes it: panoptic files, and instances if there are any."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic.evaluation.image import Candidates
from panoptic.format.annotations import Annotation, read_annotations
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId
from panoptic.instances.results import masks_by_image, read_instance_results


@dataclass(frozen=True)
class Predictions:
    """Predictions by image id, and `candidates`: the instances before merging.

    `masks`: the folder or zip file of the PNGs.
    """

    panoptic_json: Path
    masks: Path
    by_image: Mapping[ImageId, Annotation]
    candidates: Mapping[ImageId, Candidates]

    @classmethod
    def read(cls, folder: Path, categories: CategoryTable) -> "Predictions":
        """Read `panoptic.json`, and `instances.json` if it is there. Raises `DatasetError` for issues."""
        path, instances = folder / "panoptic.json", folder / "instances.json"
        annotations = read_annotations(path, known=categories)
        categories.require_same(annotations.categories, str(path), "the ground truth")
        results = read_instance_results(instances, categories) if instances.exists() else []
        return cls(path, folder / "panoptic", annotations.by_image, masks_by_image(results))

    def only(self, image_id: ImageId) -> "Predictions":
        """The predictions of one image, which cost little to send to a worker."""
        return replace(
            self, by_image={image_id: self.by_image[image_id]}, candidates={image_id: self.candidates.get(image_id, ())}
        )
