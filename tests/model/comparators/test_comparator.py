"""A network that others trained gives the map of transformers' own pipeline, or that of our merging of its masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoModelForUniversalSegmentation, pipeline

from model.comparators.folder import LoadedFolder, load_folder
from model.comparators.scoring import open_comparator
from model.inference.merging import METHODS, OWN, MergingSettings
from model.inference.post_processing import FoundMasks, ImageSizes, PanopticPrediction
from model.inference.settings import InferenceSettings
from panoptic.format.categories import Category, CategoryTable
from tests.model.comparators.made_folders import LENIENT, MADE, NAMES, image, read_processor, write_folder

CPU = torch.device("cpu")
MASK_KEYS = {"detr": "pred_masks"}
CLASS_KEYS = {"detr": "logits"}
OURS = MergingSettings(score_threshold=0.01, mask_threshold=0.3, overlap_things=0.95, overlap_stuff=0.95)


@pytest.fixture(scope="module", params=MADE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("folders") / request.param, request.param)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedFolder:
    return load_folder(folder)


def table(*stuff: str) -> CategoryTable:
    """The networks' classes as categories, in another order; all are things but those named."""
    return CategoryTable.of(
        Category(100 - label, name, name not in stuff, (0, 0, 0)) for label, name in enumerate(NAMES)
    )


def predict(loaded: LoadedFolder, categories: CategoryTable, settings: InferenceSettings) -> PanopticPrediction:
    comparator = open_comparator(loaded, categories, settings, CPU)
    return comparator.predict([comparator.prepare(image(), "image")])[0]


def segments_of(prediction: PanopticPrediction, categories: CategoryTable) -> set[tuple[str, float, bytes]]:
    return {
        (categories.category_of(found.label).name, found.score, (prediction.ids == found.id).tobytes())
        for found in prediction.segments
    }


def of_pipeline(folder: Path) -> list[tuple[str, float, NDArray[np.bool_]]]:
    """The segments that transformers' pipeline finds."""
    network = AutoModelForUniversalSegmentation.from_pretrained(folder)
    run = pipeline("image-segmentation", model=network, image_processor=read_processor(folder))
    found = run(Image.fromarray(image()), subtask="panoptic", **LENIENT)
    return [(one["label"], one["score"], np.asarray(one["mask"]) > 0) for one in found]


def test_own_post_processing_gives_the_map_of_transformers_pipeline(folder: Path, loaded: LoadedFolder) -> None:
    categories = table()
    prediction = predict(loaded, categories, loaded.settings(OWN))
    expected = {(label, score, mask.tobytes()) for label, score, mask in of_pipeline(folder)}
    assert expected
    assert segments_of(prediction, categories) == expected
    assert [found.id for found in prediction.segments] == list(range(1, len(expected) + 1))
    assert all(found.area == (prediction.ids == found.id).sum() for found in prediction.segments)
    scores = [found.score for found in prediction.segments]
    assert scores == sorted(scores, reverse=True)


def test_segments_of_a_stuff_class_are_one(folder: Path, loaded: LoadedFolder) -> None:
    """Without the fault of transformers, in which a segment after a fused one gets the id of another."""
    categories = table(*NAMES)
    prediction = predict(loaded, categories, loaded.settings(OWN))
    expected: dict[str, tuple[float, NDArray[np.bool_]]] = {}
    for label, score, mask in of_pipeline(folder):
        best, joined = expected.get(label, (0.0, np.zeros_like(mask)))
        expected[label] = max(best, score), joined | mask
    assert segments_of(prediction, categories) == {
        (label, score, mask.tobytes()) for label, (score, mask) in expected.items()
    }


def test_classes_that_the_dataset_lacks_are_void(folder: Path, loaded: LoadedFolder) -> None:
    everything = of_pipeline(folder)
    gone = everything[0][0]
    categories = CategoryTable.of(category for category in table() if category.name != gone)
    prediction = predict(loaded, categories, loaded.settings(OWN))
    expected = {(label, score, mask.tobytes()) for label, score, mask in everything if label != gone}
    assert segments_of(prediction, categories) == expected


@pytest.mark.parametrize("method", METHODS)
def test_our_merging_of_its_masks_is_that_by_hand(folder: Path, loaded: LoadedFolder, method: str) -> None:
    """The most probable pairs of query and class, with the masks of the part of the image that is no padding."""
    categories, merging = table("sky-other-merged", "tree"), replace(OURS, method=method)
    prediction = predict(loaded, categories, replace(loaded.settings("mask"), merging=merging))

    processor = read_processor(folder)
    with torch.no_grad():
        inputs = processor(images=[Image.fromarray(image())], return_tensors="pt")
        outputs = AutoModelForUniversalSegmentation.from_pretrained(folder)(**inputs)
    masks = outputs[MASK_KEYS.get(folder.name, "masks_queries_logits")][0]
    probabilities = outputs[CLASS_KEYS.get(folder.name, "class_queries_logits")][0].softmax(-1)[:, :-1]
    best = sorted(
        ((float(value), query, label) for query, row in enumerate(probabilities) for label, value in enumerate(row)),
        key=lambda pair: -pair[0],
    )[: len(probabilities)]
    if folder.name == "eomt":  # 48 x 72 pixels become 43 x 64 of the 64 x 64 that 32 x 32 cells of a mask cover
        assert masks.shape[1:] == (32, 32)
        masks = masks[:, :22]
    size = masks.shape[1], masks.shape[2]
    by_hand = FoundMasks(
        torch.stack([masks[query].sigmoid() for _, query, _ in best]),
        torch.tensor([categories.label_of(100 - label) for _, _, label in best]),
        torch.tensor([value for value, _, _ in best]),
        None,
        None,
        len(best),
        len(categories.things),
        ImageSizes(size, size, (48, 72)),
    ).merge(merging)
    assert by_hand.segments
    np.testing.assert_array_equal(prediction.ids, by_hand.ids)
    assert [(one.label, one.area) for one in prediction.segments] == [(one.label, one.area) for one in by_hand.segments]
    np.testing.assert_allclose(prediction.instances.scores, by_hand.instances.scores, rtol=1e-5)
