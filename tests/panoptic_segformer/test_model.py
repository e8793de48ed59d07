"""Loading weights and predicting in Python: every form of an image, and equality with the predict stage."""

import json
import os
import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import panoptic_segformer
from model.inference.post_processing import PanopticPrediction
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings
from model.weights.description import metadata_path
from panoptic.datasets.coco import build_index
from panoptic.format.id_map import decode_id_map
from panoptic_segformer.changed_settings import with_changes
from panoptic_segformer.images import NamedImage
from panoptic_segformer.model import Model
from stages import predict
from tests.model.training.synthetic import NETWORK
from tests.panoptic_segformer.made_model import LENIENT, PARAMS, SETTINGS
from tests.tiny_dataset import TinySplit, random_image, write_split


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TinySplit:
    rng = np.random.default_rng(0)
    images = [random_image(rng, index, *size) for index, size in enumerate([(48, 64), (64, 48), (48, 64)])]
    return write_split(tmp_path_factory.mktemp("data"), "val", images)


def files(split: TinySplit) -> list[Path]:
    return sorted(split.images.iterdir())


def test_maps_are_those_of_the_stage(split: TinySplit, weights: Path, tmp_path: Path) -> None:
    build_index(split.panoptic_json, split.masks, split.images).save(tmp_path / "val.index")
    (tmp_path / "params.yaml").write_text(PARAMS)
    arguments = ["--params", str(tmp_path / "params.yaml"), "--index", str(tmp_path / "val.index")]
    predict.main([*arguments, "--model", str(weights), "--out", str(tmp_path)])
    written = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
    results = panoptic_segformer.load(weights)(files(split))
    assert len(results) == len(written) == 3
    for result, annotation in zip(results, sorted(written, key=lambda one: str(one["file_name"])), strict=True):
        ids = decode_id_map((tmp_path / "panoptic" / annotation["file_name"]).read_bytes(), "")
        np.testing.assert_array_equal(result.ids, ids)
        assert [segment.score for segment in result.segments] == [one["score"] for one in annotation["segments_info"]]


def test_every_form_of_an_image_gives_the_same_map(split: TinySplit, weights: Path) -> None:
    model, path = panoptic_segformer.load(weights), files(split)[0]
    image = Image.open(path)
    pixels = np.asarray(image.convert("RGB"))
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    expected = model(path)
    for form in (str(path), path.read_bytes(), image, pixels, tensor, tensor / 255):
        np.testing.assert_array_equal(model(form).ids, expected.ids)
    np.testing.assert_array_equal(model([path, path])[1].ids, expected.ids)
    with os.scandir(path.parent) as entries:
        (entry,) = (entry for entry in entries if entry.name == path.name)
    np.testing.assert_array_equal(model(entry).ids, expected.ids)
    np.testing.assert_array_equal(model(tensor.double() / 255).image, pixels)
    reused = pixels.copy()
    before = model(reused)
    reused[:] = 0
    np.testing.assert_array_equal(before.image, pixels)
    half = (tensor.double() / 255).half()
    np.testing.assert_array_equal(model(half).image, np.rint(half.float().permute(1, 2, 0).numpy() * 255))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_defaults_that_the_calling_program_has_set_change_nothing(
    split: TinySplit, weights: Path, dtype: torch.dtype
) -> None:
    model, path = panoptic_segformer.load(weights), files(split)[0]
    expected = model(path)
    torch.set_default_dtype(dtype)
    torch.set_default_device("meta")
    try:
        for again in (model, panoptic_segformer.load(weights)):
            np.testing.assert_array_equal(again(path).ids, expected.ids)
            assert again(path).segments == expected.segments
            np.testing.assert_array_equal(again.find(NamedImage("", expected.image)).merge().ids, expected.ids)
        assert (torch.get_default_dtype(), torch.get_default_device().type) == (dtype, "meta")
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def test_weights_that_are_loaded_in_inference_mode_are_no_other_ones(split: TinySplit, weights: Path) -> None:
    with torch.inference_mode():
        model = panoptic_segformer.load(weights)
        results = model(files(split)[0]), panoptic_segformer.load(weights)(files(split)[0])
    for result in (*results, model(files(split)[0])):
        assert result.segments == panoptic_segformer.load(weights)(files(split)[0]).segments


def test_a_model_cannot_be_pickled_and_says_what_to_do(weights: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot be pickled or copied; load it in each process"):
        pickle.dumps(panoptic_segformer.load(weights))


def test_segments_describe_the_map(split: TinySplit, weights: Path) -> None:
    result = panoptic_segformer.load(weights)(files(split)[1])
    assert result.segments
    assert set(np.unique(result.ids).tolist()) - {0} == {segment.id for segment in result.segments}
    for segment in result.segments:
        mask = result.mask(segment)
        left, top, width, height = segment.box
        assert mask.sum() == segment.area == mask[top : top + height, left : left + width].sum()
        assert result.categories.by_id(segment.category_id).name == segment.category
        assert segment.embedding is not None
        assert segment.embedding.shape == (NETWORK.channels,)
    embeddings = [segment.embedding for segment in result.segments if segment.embedding is not None]
    assert len(np.unique(np.stack(embeddings), axis=0)) == len(result.segments)
    np.testing.assert_array_equal(decode_id_map(result.to_png(), ""), result.ids)
    assert result.overlay().size == (result.image.shape[1], result.image.shape[0])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 3)), r"shape \(4, 5, 3\) and type float64"),
        (np.zeros((4, 0, 3), np.uint8), r"shape \(4, 0, 3\)"),
        (torch.full((3, 4, 5), 2.0), "floats in 2..2"),
        (torch.zeros(3, 4, 5, device="meta"), "give a dense one on a device"),
        (torch.zeros(3, 4, 5).to_sparse(), "give a dense one on a device"),
        (torch.zeros(3, 0, 5), r"shape \(3, 0, 5\)"),
        (torch.zeros(1, 3, 4, 5), r"shape \(1, 3, 4, 5\)"),
        (b"no image", "image"),
        ("missing.jpg", "missing.jpg"),
    ],
)
def test_what_is_no_image_is_refused(weights: Path, image: panoptic_segformer.ImageLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        panoptic_segformer.load(weights)(image)


class Exported:
    """A runtime that merges by itself."""

    settings = InferenceSettings()

    def __init__(self, prediction: PanopticPrediction) -> None:
        self._prediction = prediction

    def prepare(self, image: NDArray[np.uint8], name: str) -> NetworkInput:
        return NetworkInput(image, (image.shape[0], image.shape[1]), name)

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        return (self._prediction,) * len(inputs)


def test_masks_are_merged_later_with_other_settings(split: TinySplit, weights: Path) -> None:
    model, path = panoptic_segformer.load(weights), files(split)[0]
    unmerged = model.find(NamedImage("photo", model(path).image))
    np.testing.assert_array_equal(unmerged.merge().ids, model(path).ids)
    changed = panoptic_segformer.load(weights, method="pixel", alpha=0.5, mask_threshold=0.3)
    np.testing.assert_array_equal(unmerged.merge(changed.settings.merging).ids, changed(path).ids)
    assert model.leaves_masks


def test_a_runtime_that_merges_by_itself_has_one_map(split: TinySplit, weights: Path) -> None:
    model, path = panoptic_segformer.load(weights), files(split)[0]
    found = model.find(NamedImage("photo", model(path).image))
    runtime = Exported(found.found.merge(found.settings))
    exported = Model(runtime, model.categories, model.settings, "model.onnx")
    assert not exported.leaves_masks
    unmerged = exported.find(NamedImage("photo", found.image))
    np.testing.assert_array_equal(unmerged.merge().ids, model(path).ids)
    assert unmerged.nbytes == found.image.nbytes + unmerged.merge().ids.nbytes
    with pytest.raises(ValueError, match="merges with its own settings"):
        unmerged.merge(replace(model.settings.merging, alpha=0.5))


def test_settings_change_by_name(weights: Path) -> None:
    model = panoptic_segformer.load(weights.parent, shorter=32, score_threshold=0.5)
    expected = replace(SETTINGS, shorter=32, merging=replace(LENIENT, score_threshold=0.5))
    assert model.settings == expected
    with pytest.raises(ValueError, match="there is no setting 'threshold'; choose from"):
        panoptic_segformer.load(weights, threshold=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shorter": 640}, "shorter is 640, but longer is 96; give shorter <= longer"),
        ({"shorter": 0}, "shorter is 0; give at least 1 and at most 65536"),
        ({"alpha": -1.0}, "alpha is -1.0; give at least 0 and at most 1000"),
        ({"method": "max"}, "method is 'max'; choose one of mask, mask_pixel, pixel, pixel_class, detr, own"),
    ],
)
def test_wrong_settings_are_called_by_their_names(changes: dict[str, float | str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        with_changes(SETTINGS, changes)


def test_weights_without_sizes_ask_for_them(split: TinySplit, weights: Path, tmp_path: Path) -> None:
    old = tmp_path / "model.safetensors"
    old.write_bytes(weights.read_bytes())
    metadata = json.loads(metadata_path(weights).read_text())
    kept = {name: metadata[name] for name in ("model", "categories", "provenance")}
    metadata_path(old).write_text(json.dumps(kept | {"format": "panoptic-segformer/2"}))
    with pytest.raises(ValueError, match="give shorter and longer"):
        panoptic_segformer.load(old)
    model = panoptic_segformer.load(old, shorter=48, longer=96, **vars(LENIENT))
    np.testing.assert_array_equal(model(files(split)[0]).ids, panoptic_segformer.load(weights)(files(split)[0]).ids)
