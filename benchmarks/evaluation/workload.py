"""Paths of the files of the evaluation benchmark. Imports no more than a scoring process does."""

import json
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
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def count(self) -> int:
        return sum(1 for _ in self.ground_truth.masks.iterdir())

    def repeated(self, times: int) -> tuple[PanopticFiles, PanopticFiles]:
        """Write both as JSON files that list every image `times` times, each time under another id."""
        return _repeated(self.ground_truth, times), _repeated(self.prediction, times)


def _repeated(files: PanopticFiles, times: int) -> PanopticFiles:
    document = json.loads(files.panoptic_json.read_text(encoding="utf-8"))
    annotations = document["annotations"]
    document["annotations"] = [
        {**annotation, "image_id": repeat * len(annotations) + number}
        for repeat in range(times)
        for number, annotation in enumerate(annotations)
    ]
    del document["images"]
    longer = files.panoptic_json.with_stem(f"{files.panoptic_json.stem}_{times}_times")
    longer.write_text(json.dumps(document), encoding="utf-8")
    return PanopticFiles(longer, files.masks)
