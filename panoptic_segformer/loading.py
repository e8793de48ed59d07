"""From a name or a file to a model."""

from collections.abc import Mapping
from pathlib import Path

import torch

from model.comparators.folder import load_folder
from model.comparators.scoring import open_comparator
from model.device import pick_device, usable_device, usual_defaults
from model.inference.merging import OWN
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import Checkpoint
from model.weights.official.classes import coco_categories
from panoptic.runtime.fingerprint import file_digest
from panoptic_segformer.changed_settings import MERGING, SettingValue, with_changes
from panoptic_segformer.model import Model
from panoptic_segformer.onnx_runtime import load_onnx
from panoptic_segformer.weights.sources import ONNX, Source, find, read_checkpoint


@usual_defaults()
def load(source: str | Path, *, device: str | torch.device | None = None, **settings: SettingValue) -> Model:
    """Load a model.

    Args:
        source: weights that `stages.train` wrote, or the folder that they are in; a checkpoint of the authors' code
            (`.pth`), the name of one that they published, such as `r50_2x`, which is fetched if it is not there, or a
            model on the Hugging Face hub, `owner/name` or `hf://owner/name@revision`; an ONNX file that
            `model.export` wrote; or a folder in transformers' layout (docs/comparators.md).
        device: `cpu`, `cuda`, `cuda:1`, ...; by default the GPU if there is one.
        settings: in place of those in the weights: `shorter`, `longer`, `batch_size`, `score_threshold`, ..., as in
            the section `predict` of params.yaml and its `merging`.

    Raises:
        ValueError: there are no such weights, they are damaged or cannot be fetched, or a setting is wrong.
    """
    found = find(source)
    if found.path.is_dir():
        return _comparator(found, device, settings)
    if found.path.suffix == ONNX:
        return _exported(found.path, device, settings)
    checkpoint = read_checkpoint(found)
    chosen = with_changes(inference_of(checkpoint, found.name, settings), settings)
    network = checkpoint.network.to(usable_device(device or pick_device()))
    digest = checkpoint.digest or file_digest(found.path)
    return Model(Predictor(network, chosen), checkpoint.categories, chosen, found.name, digest)


def _comparator(found: Source, device: str | torch.device | None, settings: Mapping[str, SettingValue]) -> Model:
    """Load a folder in transformers' layout, whose classes are matched to COCO's."""
    loaded, categories = load_folder(found.path), coco_categories()
    method = str(settings.get("method", OWN))
    fixed = {"shorter", "longer", *(MERGING - {"method"} if method == OWN else ())}
    if frozen := sorted(settings.keys() & fixed):
        hint = "; for our merging and its settings, give a method, such as mask" if frozen[0] in MERGING else ""
        raise ValueError(f"{found.name}: {frozen[0]} is up to its image processor, and cannot be changed{hint}")
    chosen = with_changes(loaded.settings(OWN if method == OWN else "mask"), settings)
    comparator = open_comparator(loaded, categories, chosen, usable_device(device or pick_device()))
    return Model(comparator, categories, chosen, found.name, loaded.digest)


def _exported(path: Path, device: str | torch.device | None, settings: Mapping[str, SettingValue]) -> Model:
    if usable_device(device or "cpu").type != "cpu":
        raise ValueError(f"{path}: exported networks run on the CPU; leave out device {str(device)!r}")
    return load_onnx(path, settings)


def inference_of(checkpoint: Checkpoint, source: str, settings: Mapping[str, SettingValue]) -> InferenceSettings:
    """Return the settings in the weights. Raises `ValueError` if there are none and `settings` lack the sizes."""
    if checkpoint.inference is not None:
        return checkpoint.inference
    if not {"shorter", "longer"} <= settings.keys():
        raise ValueError(
            f"{source}: an earlier version wrote these weights, without the size of images that they need; give "
            "shorter and longer, as in the section predict of the params.yaml that they were trained with"
        )
    return InferenceSettings()
