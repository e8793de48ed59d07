"""Networks that others trained, by the command `panoptic predict`, in Python, and on the server."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from transformers import AutoModelForUniversalSegmentation

import panoptic_segformer
from model.weights.official.classes import coco_categories
from panoptic.format.id_map import decode_id_map
from panoptic_segformer.predict.__main__ import main
from panoptic_segformer.serve.app import make_app
from panoptic_segformer.serve.limits import Limits
from tests.model.comparators.made_folders import LENIENT, image, read_processor, write_folder
from tests.panoptic_segformer.made_model import photo_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "mask2former", "mask2former")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(image()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def predicted(folder: Path, photo: Path, *options: str) -> Path:
    out = photo.parent / f"out{''.join(options)}"
    main([str(photo), "--model", str(folder), "--out", str(out), "--quiet", "--device", "cpu", *options])
    return out / "panoptic/photo.png"


def test_the_command_writes_the_map_of_transformers(
    folder: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the processor's own fusing of stuff, whose ids are not ambiguous where there is one segment of it."""
    ids = decode_id_map(predicted(folder, photo).read_bytes(), "")
    said = capsys.readouterr().err
    assert f"{folder}: 1 of 5 classes are taken by another spelling: tree as tree-merged" in said
    assert f"{folder}: 128 of 133 categories of the dataset are unknown to it, and never found: bicycle, car" in said
    processor, network = read_processor(folder), AutoModelForUniversalSegmentation.from_pretrained(folder)
    with torch.no_grad():
        outputs = network(**processor(images=[Image.open(photo)], return_tensors="pt"))
    (expected,) = processor.post_process_panoptic_segmentation(
        outputs, target_sizes=[(48, 72)], label_ids_to_fuse={2, 3}, **LENIENT
    )
    order = sorted(expected["segments_info"], key=lambda segment: -segment["score"])
    assert {segment["label_id"] for segment in order} == {0, 3}
    assert len({segment["id"] for segment in order}) == len(order)
    renamed = np.zeros(len(order) + 1, np.int32)
    for number, segment in enumerate(order, 1):
        renamed[segment["id"]] = number
    np.testing.assert_array_equal(ids, renamed[expected["segmentation"].numpy()])


def test_python_tells_cocos_categories(folder: Path, photo: Path) -> None:
    model = panoptic_segformer.load(folder)
    result = model(photo)
    assert model.categories == coco_categories()
    assert model.source == str(folder)
    np.testing.assert_array_equal(result.ids, decode_id_map(predicted(folder, photo).read_bytes(), ""))
    assert {(one.category, one.category_id, one.is_thing) for one in result.segments} == {
        ("person", 1, True),
        ("tree-merged", 184, False),
    }
    assert all(segment.embedding is None for segment in result.segments)
    np.testing.assert_array_equal(model.predict_tiled(photo, 96).ids, result.ids)
    assert [one.ids.tobytes() for one in model([photo, photo])] == [result.ids.tobytes()] * 2


def test_our_merging_is_an_option(folder: Path, photo: Path) -> None:
    by_command = predicted(folder, photo, "--method", "mask", "--score-threshold", "0.01")
    result = panoptic_segformer.load(folder, method="mask", score_threshold=0.01)(photo)
    np.testing.assert_array_equal(result.ids, decode_id_map(by_command.read_bytes(), ""))
    assert result.ids.tobytes() != panoptic_segformer.load(folder)(photo).ids.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shorter", "64"], "shorter is up to its image processor, and cannot be changed"),
        (["--score-threshold", "0.5"], "cannot be changed; for our merging and its settings, give a method, such as"),
        (["--method", "best"], "--method is 'best'; choose one of mask, mask_pixel, pixel, pixel_class, detr, own"),
    ],
)
def test_what_the_folder_decides_cannot_be_changed(
    folder: Path, photo: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        predicted(folder, photo, *options)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_file_of_the_folder_is_not_the_folder(folder: Path) -> None:
    with pytest.raises(ValueError, match=f"for a network in transformers' layout, name its folder, {folder}"):
        panoptic_segformer.load(folder / "model.safetensors")


def test_our_weights_have_no_merging_of_their_own(weights: Path) -> None:
    with pytest.raises(ValueError, match="method is 'own', which only networks in transformers' layout have"):
        panoptic_segformer.load(weights, method="own")


def test_the_server_merges_by_both(folder: Path, weights: Path) -> None:
    model = panoptic_segformer.load(folder, device="cpu")
    with TestClient(make_app(model, Limits()), base_url="http://localhost") as client:
        assert client.get("/model").json()["methods"] == ["mask", "mask_pixel", "pixel", "pixel_class", "detr", "own"]
        answers = [client.post(f"/predict?format=png{more}", content=photo_file(0)) for more in ("", "&method=mask")]
    assert [answer.status_code for answer in answers] == [200, 200]
    np.testing.assert_array_equal(decode_id_map(answers[0].content, ""), model(photo_file(0)).ids)
    ours = panoptic_segformer.load(folder, device="cpu", method="mask", score_threshold=0.0, mask_threshold=0.1)
    np.testing.assert_array_equal(decode_id_map(answers[1].content, ""), ours(photo_file(0)).ids)
    with TestClient(make_app(panoptic_segformer.load(weights), Limits()), base_url="http://localhost") as client:
        refused = client.post("/predict?method=own", content=photo_file(0))
    assert refused.status_code == 400
    assert "cannot be merged by 'own'" in refused.json()["error"]
