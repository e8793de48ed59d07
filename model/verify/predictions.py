"""Check that repeats a random sample of the predictions with the weights."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model.device import pick_device
from model.inference.predict import ImagePrediction, predict_images, same_size_batches
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.verify.check import FAILED, NOT_MADE, OK, Check, Run, first, settings_of
from model.weights.checkpoint import load_checkpoint
from panoptic.format.annotations import Annotation, read_annotations
from panoptic.format.id_map import decode_id_map
from panoptic.format.image_id import ImageId
from panoptic.index import PanopticIndex
from panoptic.index.records import take
from panoptic.instances.detection_json import encode_mask
from panoptic.instances.results import InstanceResult, read_instance_results
from panoptic.io.files import FileSource, open_files

EQUAL_PIXELS = 0.95
"""Share of the pixels of predictions that must be equal on a machine of another kind."""


@dataclass(frozen=True)
class Stored:
    """The predictions that the results consist of; `instances` is None where there are none."""

    annotations: dict[ImageId, Annotation]
    masks: FileSource
    instances: dict[ImageId, list[InstanceResult]] | None

    @classmethod
    def read(cls, run: Run, index: PanopticIndex, listed: Path, masks: Path) -> "Stored":
        instances: dict[ImageId, list[InstanceResult]] | None = None
        if path := run.result("predictions/instances.json"):
            instances = {record.image_id: [] for record in index.records}
            for result in read_instance_results(path, index.categories):
                instances.setdefault(result.image_id, []).append(result)
        return cls(read_annotations(listed, index.categories).by_image, open_files(masks), instances)

    def differences(self, prediction: ImagePrediction, index: PanopticIndex) -> tuple[float, list[str]]:
        """The share of equal pixels of an image, and everything that is not as stored."""
        annotation = self.annotations[prediction.record.image_id]
        ids = decode_id_map(self.masks.read(annotation.file_name), annotation.file_name)
        equal = float(np.mean(ids == prediction.ids)) if ids.shape == prediction.ids.shape else 0.0
        found = [f"{100 * equal:.2f} % of its pixels are equal"] if equal < 1 else []
        if {(s.id, s.category_id) for s in prediction.segments} != {(s.id, s.category_id) for s in annotation.segments}:
            found.append("its segments have other classes")
        if self.instances is not None:
            stored = {
                (result.category_id, result.score, _text(result.mask["counts"]))
                for result in self.instances[prediction.record.image_id]
            }
            if stored != _instances(prediction, index):
                found.append("its instances are others")
        return equal, found


def check_predictions(run: Run, images: int, seed: int) -> Check:
    """Predict a random sample of images again, in the batches that they were in, and compare every pixel."""
    listed, masks = run.result("predictions/panoptic.json"), run.result("predictions/panoptic")
    index_path = run.data("val index")
    if listed is None or masks is None or not index_path.exists() or run.results is None:
        return Check("prediction", NOT_MADE, "predictions or the validation index are not there")
    index, settings = PanopticIndex.load(index_path), settings_of(run.results, "predict", InferenceSettings)
    stored = Stored.read(run, index, listed, masks)
    predictor = Predictor(load_checkpoint(run.model).network.to(pick_device()), settings)
    before, wrong, equal = torch.get_num_threads(), list[str](), list[float]()
    torch.set_num_threads(run.weights.section("machine").integer("threads"))
    try:
        for batch in _sample(index, settings, images, seed):
            for prediction in predict_images(predictor, replace(index, records=take(index.records, batch))):
                share, differences = stored.differences(prediction, index)
                equal.append(share)
                wrong += [f"image id {prediction.record.image_id}: {difference}" for difference in differences]
    finally:
        torch.set_num_threads(before)
    name, seen = "prediction", f"{len(equal)} images (--seed {seed})"
    if not wrong:
        return Check(name, OK, f"{seen} as stored, in every pixel and instance")
    if run.machine_differences and np.mean(equal) >= EQUAL_PIXELS:
        where = f"machine of another kind ({first(list(run.machine_differences))})"
        return Check(name, OK, f"{where}; {100 * np.mean(equal):.2f} % of the pixels of {seen} are equal, 95 % needed")
    return Check(name, FAILED, f"of {seen}: {first(wrong)}")


def _instances(prediction: ImagePrediction, index: PanopticIndex) -> set[tuple[int, float, str]]:
    """Class, score and mask of the predicted instances that are not empty, as stages.predict writes them."""
    instances = prediction.instances
    rows = zip(instances.each_mask(), instances.labels.tolist(), instances.scores.tolist(), strict=True)
    return {
        (index.categories.category_of(label).id, round(score, 5), _text(encode_mask(mask)["counts"]))
        for mask, label, score in rows
        if mask.any()
    }


def _text(counts: object) -> str:
    return counts.decode() if isinstance(counts, bytes) else str(counts)


def _sample(index: PanopticIndex, settings: InferenceSettings, images: int, seed: int) -> Sequence[list[int]]:
    """Whole batches with at least `images` images: rounding may depend on what else is in a batch."""
    batches = list(same_size_batches(index.records, settings))
    random.Random(seed).shuffle(batches)
    chosen, count = list[list[int]](), 0
    for batch in batches:
        if count >= images:
            break
        chosen.append(batch)
        count += len(batch)
    return chosen
