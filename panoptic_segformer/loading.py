"""From a name or a file to a model."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch

from model.device import pick_device, usable_device, usual_defaults
from model.inference.merging import MergingSettings
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import Checkpoint
from panoptic.runtime.fingerprint import file_digest
from panoptic_segformer.model import Model
from panoptic_segformer.weights.sources import ONNX, find, read_checkpoint

SettingValue: TypeAlias = float | str | bool
_MERGING = {field.name for field in fields(MergingSettings)}
_SETTINGS = {field.name for field in fields(InferenceSettings)} - {"merging", "images"} | _MERGING


@usual_defaults()
def load(source: str | Path, *, device: str | torch.device | None = None, **settings: SettingValue) -> Model:
    """Load a model.

    Args:
        source: weights that `stages.train` wrote, or the folder that they are in; a checkpoint of the authors' code
            (`.pth`), the name of one that they published, such as `r50_2x`, which is fetched if it is not there, or a
            model on the Hugging Face hub, `owner/name` or `hf://owner/name@revision`; or an ONNX file
            that `model.export` wrote.
        device: `cpu`, `cuda`, `cuda:1`, ...; by default the GPU if there is one.
        settings: in place of those in the weights: `shorter`, `longer`, `batch_size`, `score_threshold`, ..., as in
            the section `predict` of params.yaml and its `merging`.

    Raises:
        ValueError: there are no such weights, they are damaged or cannot be fetched, or a setting is wrong.
    """
    found = find(source)
    if found.path.suffix == ONNX:
        return _exported(found.path, device, settings)
    checkpoint = read_checkpoint(found)
    chosen = with_changes(inference_of(checkpoint, found.name, settings), settings)
    network = checkpoint.network.to(usable_device(device or pick_device()))
    digest = checkpoint.digest or file_digest(found.path)
    return Model(Predictor(network, chosen), checkpoint.categories, chosen, found.name, digest)


def _exported(path: Path, device: str | torch.device | None, settings: Mapping[str, SettingValue]) -> Model:
    if str(device or "cpu") != "cpu":
        raise ValueError(f"{path}: exported networks run on the CPU; leave out device {str(device)!r}")
    from panoptic_segformer.onnx_runtime import load_onnx  # which changes settings by the functions here

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


def with_changes(settings: InferenceSettings, changes: Mapping[str, SettingValue]) -> InferenceSettings:
    """Change some settings by name. Raises `ValueError` for an unknown name or a wrong value."""
    if unknown := sorted(changes.keys() - _SETTINGS):
        raise ValueError(f"there is no setting {unknown[0]!r}; choose from {', '.join(sorted(_SETTINGS))}")
    values = cast(Mapping[str, Any], changes)
    merging = replace(settings.merging, **{name: values[name] for name in values.keys() & _MERGING})
    return replace(settings, merging=merging, **{name: values[name] for name in values.keys() - _MERGING})
