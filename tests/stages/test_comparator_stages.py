"""Stages score a network that others trained like our own weights: predict, evaluate, robustness."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import panoptic_segformer
from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.id_map import decode_id_map
from panoptic.index import PanopticIndex
from stages import corrupt, evaluate, predict, robustness
from tests.model.comparators.made_folders import write_folder
from tests.panoptic_segformer.made_model import write_model
from tests.tiny_dataset import TinySplit, random_image, write_split

PARAMS = """
predict: {shorter: 32, longer: 40, batch_size: 2, images: 1, merging: {method: %s}}
corrupt: {corruptions: [contrast], severities: [1], images: 2}
"""
NAMES = ("ball", "anchor", "sky", "water", "crane")
"""Classes of the network, some of which are `tests.tiny_dataset.CATEGORIES`; only "star" is missing."""
NOTES = (
    "2 of 5 classes are no categories of the dataset, and void where they are found: anchor, crane",
    "1 of 4 categories of the dataset are unknown to it, and never found: star",
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TinySplit:
    rng = np.random.default_rng(0)
    images = [random_image(rng, number, *size) for number, size in enumerate([(48, 64), (40, 56), (48, 64)])]
    return write_split(tmp_path_factory.mktemp("data"), "val", images)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("models") / "mask2former", "mask2former", NAMES)


def prepare(folder: Path, split: TinySplit, model: Path, method: str = "own") -> list[str]:
    """Write index and settings, and return the arguments that all stages share."""
    build_index(split.panoptic_json, split.masks, split.images).save(folder / "index.json")
    (folder / "params.yaml").write_text(PARAMS % method)
    return ["--params", f"{folder}/params.yaml", "--index", f"{folder}/index.json", "--model", str(model)]


def test_predictions_are_those_of_the_network_and_can_be_evaluated(
    split: TinySplit, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.main([*prepare(tmp_path, split, folder), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert all(f"{folder}: {note}\n" in said for note in NOTES)
    index = PanopticIndex.load(tmp_path / "index.json")
    results = json.loads((tmp_path / "out/panoptic.json").read_text())
    categories = {one["category_id"] for annotation in results["annotations"] for one in annotation["segments_info"]}
    assert categories
    assert categories <= {category.id for category in index.categories if category.name != "star"}
    assert json.loads((tmp_path / "out/instances.json").read_text())
    # The same network with names that are COCO's gives the same map, but for the class that is void here.
    other = write_folder(tmp_path / "coco", "mask2former", ("cat", "nothing", "bus", "sky", "none"))
    model = panoptic_segformer.load(other, device="cpu")
    for record in index.records:
        expected = model(PanopticReader(index).image(record)).ids
        found = decode_id_map((tmp_path / "out/panoptic" / record.mask_name).read_bytes(), record.mask_name)
        np.testing.assert_array_equal(found > 0, expected > 0)
    ground_truth = ["--ground-truth-json", str(split.panoptic_json), "--ground-truth-folder", str(split.masks)]
    files = ["--predictions-json", f"{tmp_path}/out/panoptic.json", "--predictions-folder", f"{tmp_path}/out/panoptic"]
    evaluate.main([*ground_truth, *files, "--metrics", f"{tmp_path}/metrics.json"])
    assert 0 <= json.loads((tmp_path / "metrics.json").read_text())["pq"]["all"] <= 1


def test_merging_is_a_setting(split: TinySplit, folder: Path, tmp_path: Path) -> None:
    maps = {}
    for method in ("own", "mask", "pixel"):
        out = tmp_path / method
        out.mkdir()
        predict.main([*prepare(out, split, folder, method), "--out", str(out / "out")])
        maps[method] = {path.name: path.read_bytes() for path in (out / "out/panoptic").iterdir()}
    assert maps["own"] != maps["mask"]


def test_corrupted_images_are_scored_and_another_network_starts_again(
    split: TinySplit, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = Path(shutil.copytree(folder, tmp_path / "network"))
    arguments, state = prepare(tmp_path, split, network), ["--state", str(tmp_path / "state")]
    corrupt.main([*arguments[:4], *state, "--out", str(tmp_path / "corrupted")])
    stage = [*arguments, *state, "--corrupted", str(tmp_path / "corrupted"), "--out", str(tmp_path / "out")]
    robustness.main([*stage, "--shard", "1/1"])
    thresholds = json.loads((network / "preprocessor_config.json").read_text())
    (network / "preprocessor_config.json").write_text(json.dumps(thresholds | {"threshold": 0.9}))
    capsys.readouterr()
    robustness.main(stage)
    assert "because of a change since: preprocessor_config.json changed" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/metrics.json").read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("names", "none of its classes (cat, dog) is a category of the dataset (ball, star, sky and 1 more)"),
        ("own", "predict.merging.method is 'own', which only networks in transformers' layout have"),
        ("mask_layer: 1", "predict.mask_layer is 1, which"),
    ],
)
def test_what_cannot_be_scored_ends_in_one_line(
    split: TinySplit, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    model = {
        "names": lambda: write_folder(tmp_path / "others", "eomt", ("cat", "dog")),
        "own": lambda: write_model(tmp_path / "model.safetensors"),
    }.get(change, lambda: folder)()
    arguments = prepare(tmp_path, split, model)
    if ":" in change:
        (tmp_path / "params.yaml").write_text(f"predict: {{{change}}}")
    with pytest.raises(SystemExit, match="2"):
        predict.main([*arguments, "--out", str(tmp_path / "out")])
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(f"{folder}: ")]
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert message in lines[-1]
    assert not (tmp_path / "out").exists()
