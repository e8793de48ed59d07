"""An exported file predicts what the weights predict that it was made from."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import panoptic_segformer
from model.export import check_images
from model.export.__main__ import main
from model.export.sizes import ExportError
from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic_segformer.onnx_runtime import load_onnx
from tests.model.export.test_export import CATEGORIES, CONFIG
from tests.model.network.tiny_network import tiny_network

MERGING = MergingSettings(score_threshold=0.0)  # so that random masks make segments
PARAMS = "predict: {shorter: 64, longer: 96, merging: {score_threshold: 0.0}}"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    settings = InferenceSettings(64, 96, merging=MERGING)
    network = tiny_network(CONFIG).eval()
    save_checkpoint(path, Checkpoint(CONFIG, CATEGORIES, {}, network, inference=settings))
    (path.parent / "params.yaml").write_text(PARAMS)
    return path


@pytest.fixture(scope="module", params=[("--dynamic", "panoptic"), ("--size=64x96", "raw")])
def exported(weights: Path, request: pytest.FixtureRequest) -> Path:
    size, outputs = request.param
    out = weights.parent / f"{size.strip('-')}-{outputs}"
    arguments = ["--model", weights, "--out", out, "--params", weights.parent / "params.yaml", "--format", "onnx"]
    main([*map(str, arguments), size, "--outputs", outputs])
    return out / "model.onnx"


def photos() -> list[NDArray[np.uint8]]:
    """Three of the aspect ratio of the fixed file, of which one needs no resizing."""
    return [check_images.resized(image, size).pixels for image, size in zip(check_images.noise(), SIZES, strict=True)]


SIZES = ((64, 96), (80, 120), (128, 192))


def test_maps_and_embeddings_are_those_of_the_weights(weights: Path, exported: Path) -> None:
    expected = panoptic_segformer.load(weights, device="cpu")(photos())
    for batch_size in (1, 3):
        results = panoptic_segformer.load(exported, batch_size=batch_size)(photos())
        for theirs, ours in zip(results, expected, strict=True):
            assert theirs.ids.shape == ours.ids.shape
            assert np.mean(theirs.ids == ours.ids) >= 0.999
            assert [one.category for one in theirs.segments] == [one.category for one in ours.segments]
            assert ours.segments
            for one, other in zip(theirs.segments, ours.segments, strict=True):
                assert one.score == pytest.approx(other.score, rel=1e-3)
                assert one.embedding is not None
                assert other.embedding is not None
                np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-3, atol=1e-3)


def test_settings_of_merging_change_and_the_others_do_not(exported: Path) -> None:
    model = load_onnx(exported, {"score_threshold": 0.9})
    assert model.settings == InferenceSettings(64, 96, merging=replace(MERGING, score_threshold=0.9))
    with pytest.raises(ValueError, match=r"model\.onnx: mask_layer is part of an exported file"):
        load_onnx(exported, {"mask_layer": 1})
    with pytest.raises(ValueError, match="there is no setting 'threshold'"):
        load_onnx(exported, {"threshold": 1})
    if "dynamic" in str(exported):
        assert load_onnx(exported, {"shorter": 70}).settings.shorter == 70
        with pytest.raises(ExportError, match="image is 13 x 20; the network accepts sides of 33 to 4096 pixels"):
            load_onnx(exported, {"shorter": 20, "longer": 20})(photos()[0])
    else:
        with pytest.raises(ValueError, match="shorter is part of an exported file"):
            load_onnx(exported, {"shorter": 70})


def test_other_files_are_refused(exported: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged\.onnx: ONNX Runtime cannot load it"):
        load_onnx(damaged, {})
    with pytest.raises(ValueError, match=r"gone\.onnx"):
        load_onnx(tmp_path / "gone.onnx", {})
    changed = tmp_path / "changed.onnx"
    model = onnx.load(exported)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "description")
    for old, new, message in (
        ("123.675", "127.0", r"images are normalized by \[127.0, "),
        ("segformer-export/", "segformer-export/9", "has format 'panoptic-segformer-export/9"),
        ('"score_threshold"', '"limit"', "has other settings of merging"),
    ):
        before = entry.value
        entry.value = before.replace(old, new)
        onnx.save(model, changed)
        with pytest.raises(ValueError, match=message):
            load_onnx(changed, {})
        entry.value = before
    model.metadata_props.remove(entry)
    onnx.save(model, changed)
    with pytest.raises(ValueError, match="its metadata has no description"):
        load_onnx(changed, {})


def test_thresholds_may_be_integers(exported: Path) -> None:
    expected, found = (load_onnx(exported, {"score_threshold": zero})(photos()[0]) for zero in (0.0, 0))
    np.testing.assert_array_equal(found.ids, expected.ids)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r'("multiple_of"|"height"): 1?\d+', r"\1: 0"),
        (r'("multiple_of"|"height"): \d+', r"\1: -5"),
        (r'("name"): "(ids|labels)"', r'\1: "other"'),
    ],
)
def test_an_impossible_description_is_refused(old: str, new: str, exported: Path, tmp_path: Path) -> None:
    model, path = onnx.load(exported), tmp_path / "other.onnx"
    (description,) = (entry for entry in model.metadata_props if entry.key == "description")
    description.value, count = re.subn(old, new, description.value)
    assert count
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"\A.*; export it again\Z"):
        load_onnx(path, {})(photos()[0])
