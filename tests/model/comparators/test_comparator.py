"""A network that others trained gives the map of transformers' own pipeline, or that of our merging of its masks."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForUniversalSegmentation, PreTrainedModel, pipeline

from model.comparators.folder import LoadedFolder, load_folder
from model.comparators.scoring import open_comparator
from model.inference.merging import METHODS, OWN, MergingSettings
from model.inference.post_processing import FoundMasks, ImageSizes, PanopticPrediction
from model.inference.settings import InferenceSettings
from panoptic.format.categories import Category, CategoryTable
from tests.model.comparators.made_folders import LENIENT, MADE, NAMES, change_json, image, read_processor, write_folder

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


class Drawn(nn.Module):
    """A network that finds stripes of the image, and nothing in its padding: one for each of its classes by number."""

    def __init__(self, loaded: LoadedFolder, classes: Sequence[int], certainty: float = 9.0) -> None:
        super().__init__()
        self.config = loaded.network.config
        self._names = (
            CLASS_KEYS.get(self.config.model_type, "class_queries_logits"),
            MASK_KEYS.get(self.config.model_type, "masks_queries_logits"),
        )
        self._classes, self._certainty = classes, certainty

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor | None = None, **_: object) -> SimpleNamespace:
        height, width = pixel_values.shape[-2:]
        if pixel_mask is None:  # EoMT: 48 x 72 pixels become 43 x 64
            height = 43
        else:
            height, width = int(pixel_mask[0, :, 0].sum()), int(pixel_mask[0, 0].sum())
        masks = torch.full((1, len(self._classes), *pixel_values.shape[-2:]), -self._certainty)
        edges = [round(width * number / len(self._classes)) for number in range(len(self._classes) + 1)]
        for number in range(len(self._classes)):
            masks[0, number, :height, edges[number] : edges[number + 1]] = self._certainty
        logits = self._certainty * nn.functional.one_hot(torch.tensor(self._classes), len(NAMES) + 1)[None].float()
        return SimpleNamespace(**dict(zip(self._names, (logits, masks), strict=True)))


def drawn(loaded: LoadedFolder, classes: Sequence[int], certainty: float = 9.0) -> LoadedFolder:
    return replace(loaded, network=cast(PreTrainedModel, Drawn(loaded, classes, certainty)))


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
    """Without the bug of transformers by which a segment after a fused one gets the id of another."""
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


def test_a_segment_after_joined_ones_has_an_id_of_its_own(loaded: LoadedFolder) -> None:
    """Four stripes, of which the first and the third are one segment of stuff."""
    categories = table("sky-other-merged")
    prediction = predict(drawn(loaded, [2, 0, 2, 1]), categories, loaded.settings(OWN))
    names = [categories.category_of(found.label).name for found in prediction.segments]
    assert names == ["sky-other-merged", "person", "cat"]
    assert prediction.ids[24, [9, 27, 45, 63]].tolist() == [1, 2, 1, 3]


@pytest.mark.parametrize("method", METHODS)
def test_padding_is_no_part_of_the_map(tmp_path: Path, folder: Path, method: str) -> None:
    """Stripes that fill the image at the network's input fill the map, whatever is padded beside it."""
    padding = Path(shutil.copytree(folder, tmp_path / folder.name))
    if folder.name != "eomt":
        change_json(padding / "preprocessor_config.json", {"pad_size": {"height": 128, "width": 160}})
    loaded = load_folder(padding)
    merging = MergingSettings(method)
    prediction = predict(drawn(loaded, [0, 1]), table(), replace(loaded.settings("mask"), merging=merging))
    assert len(prediction.segments) == 2
    columns = np.arange(72) // 36 + 1
    expected = np.array([prediction.ids[0, 0], prediction.ids[0, -1]])[columns - 1]
    assert sorted(set(expected.tolist())) == [1, 2]
    assert (prediction.ids == expected).mean() > 0.97


def test_output_that_is_not_finite_names_the_image(loaded: LoadedFolder) -> None:
    with pytest.raises(ValueError, match="the image image: the output of the network is NaN or infinite"):
        predict(drawn(loaded, [0, 1], math.nan), table(), loaded.settings(OWN))


def test_an_image_that_is_too_thin_to_be_resized_is_named(loaded: LoadedFolder) -> None:
    comparator = open_comparator(loaded, table(), loaded.settings(OWN), CPU)
    line = comparator.prepare(np.zeros((300, 1, 3), np.uint8), "line.png")
    with pytest.raises(ValueError, match=r"the image line.png: the image processor cannot resize its 1 x 300 pixels"):
        comparator.predict([line])


def test_an_image_processor_that_makes_another_size_than_the_network_takes_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "eomt", "eomt")
    change_json(folder / "preprocessor_config.json", {"do_resize": False})
    loaded = load_folder(folder)
    expected = "the network cannot take the 72 x 64 pixels .* copy the network's own preprocessor_config.json"
    with pytest.raises(ValueError, match=expected):
        predict(loaded, table(), loaded.settings(OWN))


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
