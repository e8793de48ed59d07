"""From the model that a stage is told to score to what runs it: our weights, or the folder of a comparator."""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from model.comparators.classes import match_classes
from model.comparators.comparator import Comparator
from model.comparators.folder import LoadedFolder, files_of, is_comparator, load_folder
from model.device import pick_device
from model.inference.predict import crowded_images
from model.inference.predictor import Predictor, Runtime
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import load_checkpoint
from model.weights.description import metadata_path
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex

_HINT = "train on a dataset with these categories, or predict images of the dataset it was trained on"


def open_model(model: Path, index: PanopticIndex, where: str, settings: InferenceSettings) -> Runtime:
    """Load a model that finds the categories of an index, and print warnings about what it cannot find.

    Args:
        model: weights that `stages.train` wrote, or a folder in transformers' layout.
        index: what is to be predicted.
        where: names the index in messages.
        settings: of inference.

    Raises:
        ValueError: the model is damaged, has other categories, or cannot be run with these settings.
    """
    if is_comparator(model):
        return open_comparator(load_folder(model), index.categories, settings, pick_device())
    checkpoint = load_checkpoint(model)
    checkpoint.categories.require_same(index.categories, where, f"the model {model}", _HINT)
    for warning in crowded_images(checkpoint.network.config, index, where):
        print(warning, file=sys.stderr)
    return Predictor(checkpoint.network.to(pick_device()), settings)


def open_comparator(
    loaded: LoadedFolder, categories: CategoryTable, settings: InferenceSettings, device: torch.device
) -> Comparator:
    """Match the classes of a comparator to categories, print what does not match, and make it ready to predict."""
    classes = match_classes(loaded.class_names, categories, str(loaded.folder))
    for note in classes.notes:
        print(note, file=sys.stderr)
    return Comparator(loaded, classes, len(categories.things), settings, device)


def model_files(model: Path) -> Mapping[str, Path]:
    """Return the files that decide what a model predicts, by their part."""
    return files_of(model) if is_comparator(model) else {"model": model, "model.json": metadata_path(model)}
