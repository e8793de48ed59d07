"""Paths of the files of the evaluation benchmark. Imports no more than a scoring process does."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic.evaluation.dataset import PanopticFiles


@dataclass(frozen=True)
class Workload:
    """Ground-truth and predicted id maps, instances of both, and images, below one folder."""

    folder: Path

    @property
    def ground_truth(self) -> PanopticFiles:
        return PanopticFiles(self.folder / "ground_truth.json", self.folder / "ground_truth")

    @property
    def prediction(self) -> PanopticFiles:
        return PanopticFiles(self.folder / "prediction.json", self.folder / "prediction")

    @property
    def gt_instances(self) -> Path:
        return self.folder / "gt_instances.json"

    @property
    def predicted_instances(self) -> Path:
        return self.folder / "predicted_instances.json"

    @property
    def hundred_instances(self) -> Path:
        """As many predicted instances as a detector returns: 100 in each image that has any."""
        return self.folder / "hundred_instances.json"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def count(self) -> int:
        return sum(1 for _ in self.ground_truth.masks.iterdir())

    def times_for(self, images: int) -> int:
        """Return how often the images are to be repeated to be at least so many."""
        return math.ceil(images / self.count)

    def repeated(self, times: int) -> tuple[PanopticFiles, PanopticFiles]:
        """Write both as JSON files that list every image `times` times, each time under another id."""
        return _repeated(self.ground_truth, times), _repeated(self.prediction, times)

    def repeated_instances(self, times: int) -> tuple[Path, Path, Path]:
        """Write the instances of the same images: of the ground truth, of the prediction, and 100 an image."""
        document, found, hundred = (
            json.loads(path.read_text(encoding="utf-8"))
            for path in (self.gt_instances, self.predicted_instances, self.hundred_instances)
        )
        count = len(document["images"])
        for key, name in (("images", "id"), ("annotations", "image_id")):
            document[key] = _renumbered(document[key], name, count, times)
        document["annotations"] = [{**entry, "id": number} for number, entry in enumerate(document["annotations"], 1)]
        return (
            _write_longer(self.gt_instances, document, times),
            _write_longer(self.predicted_instances, _renumbered(found, "image_id", count, times), times),
            _write_longer(self.hundred_instances, _renumbered(hundred, "image_id", count, times), times),
        )


def _repeated(files: PanopticFiles, times: int) -> PanopticFiles:
    document = json.loads(files.panoptic_json.read_text(encoding="utf-8"))
    document["annotations"] = _renumbered(document["annotations"], "image_id", len(document["annotations"]), times)
    del document["images"]
    return PanopticFiles(_write_longer(files.panoptic_json, document, times), files.masks)


def _renumbered(entries: Sequence[Mapping[str, int]], name: str, count: int, times: int) -> list[dict[str, int]]:
    """Repeat the entries of `count` images; `name` is the field of their image's id, its number."""
    return [{**entry, name: repeat * count + entry[name]} for repeat in range(times) for entry in entries]


def _write_longer(path: Path, document: object, times: int) -> Path:
    longer = path.with_stem(f"{path.stem}_{times}_times")
    longer.write_text(json.dumps(document), encoding="utf-8")
    return longer
