"""The predict stage writes results that can be evaluated and do not depend on the batch, or fails clearly."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from stages import evaluate, predict
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import TinySplit, random_image, write_split

# Without thresholds even an untrained network finds segments.
PARAMS = """predict: {shorter: 48, longer: 96, batch_size: %d, images: 2,
  merging: {score_threshold: 0, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}"""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TinySplit:
    rng = np.random.default_rng(0)
    sizes = [(48, 64), (64, 48), (48, 64), (48, 96), (48, 64)]
    images = [random_image(rng, index, *size) for index, size in enumerate(sizes)]
    return write_split(tmp_path_factory.mktemp("data"), "val", images)


def prepare(folder: Path, split: TinySplit, batch_size: int, rename: str = "") -> list[str]:
    """Write index, settings and weights to `folder`, renaming the first thing class, and return the arguments."""
    index = build_index(split.panoptic_json, split.masks, split.images)
    folder.mkdir(exist_ok=True)
    index.save(folder / "index.json")
    (folder / "params.yaml").write_text(PARAMS % batch_size)
    first, *others = index.categories.things
    categories = CategoryTable((replace(first, name=rename or first.name), *others), index.categories.stuff)
    torch.manual_seed(0)
    network = PanopticSegFormer(NETWORK, len(categories.things), len(categories.stuff))
    save_checkpoint(folder / "model.safetensors", Checkpoint(NETWORK, categories, {}, network))
    return [
        *("--params", str(folder / "params.yaml"), "--index", str(folder / "index.json")),
        *("--model", str(folder / "model.safetensors"), "--out", str(folder / "out")),
    ]


def test_results_are_complete_and_can_be_evaluated(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.main(prepare(tmp_path, split, batch_size=2))
    assert f"2 of 5 images drawn (predict.images); {tmp_path / 'out' / 'images'}" in capsys.readouterr().out
    out = tmp_path / "out"
    results = json.loads((out / "panoptic.json").read_text())
    assert {annotation["image_id"] for annotation in results["annotations"]} == set(range(5))
    assert all(annotation["segments_info"] for annotation in results["annotations"])
    instances = json.loads((out / "instances.json").read_text())
    assert instances
    for instance in instances:
        assert coco_mask.decode(instance["segmentation"]).any()
        assert set(instance) == {"image_id", "category_id", "segmentation", "bbox", "score"}
    images = sorted((out / "images").iterdir())
    assert [image.name for image in images] == ["000000.png", "000001.png"]
    assert cv2.imread(str(images[0])) is not None
    assert json.loads((out / "timings.json").read_text())["images"] == 5
    ground_truth = ["--ground-truth-json", str(split.panoptic_json), "--ground-truth-folder", str(split.masks)]
    files = ["--predictions-json", str(out / "panoptic.json"), "--predictions-folder", str(out / "panoptic")]
    outputs = ["--metrics", str(tmp_path / "metrics.json"), "--per-class", str(tmp_path / "classes.json")]
    evaluate.main([*ground_truth, *files, *outputs])
    counts = json.loads((tmp_path / "classes.json").read_text()).values()
    assert sum(count["tp"] + count["fn"] for count in counts) > 5
    assert sum(count["tp"] + count["fp"] for count in counts) > 5


def test_a_prediction_does_not_depend_on_its_batch(split: TinySplit, tmp_path: Path) -> None:
    maps = []
    for batch_size in (1, 3):
        folder = tmp_path / str(batch_size)
        predict.main(prepare(folder, split, batch_size))
        maps.append({path.name: path.read_bytes() for path in (folder / "out" / "panoptic").iterdir()})
    assert len(maps[0]) == 5
    assert maps[0] == maps[1]


def test_other_categories_than_in_training_are_rejected(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        predict.main(prepare(tmp_path, split, batch_size=1, rename="zebra"))
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert ": other categories than the model " in message
    assert "zebra" in message
    assert not (tmp_path / "out").exists()


def test_a_missing_image_leaves_no_partial_results(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepare(tmp_path, split, batch_size=1)
    moved = split.images / "000003.png"
    content = moved.read_bytes()
    moved.unlink()
    try:
        with pytest.raises(SystemExit):
            predict.main(arguments)
    finally:
        moved.write_bytes(content)
    assert "000003.png" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("stuff_masks", math.nan, r"model.safetensors does not fit .*stuff_masks.* has NaN or infinite numbers"),
        (
            "location_decoder",
            math.inf,
            r"model.safetensors does not fit .*location_decoder.* has NaN or inf",
        ),
        (
            "location_decoder.class_heads",
            3e38,
            r"the image 00000\d.png: the class logits of the network are",
        ),
        ("stuff_masks", 3e38, r"the image 00000\d.png: the .*stuff masks of the network are NaN or infinite; set"),
    ],
)
def test_weights_or_outputs_that_are_not_finite_end_in_one_message(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, value: float, message: str
) -> None:
    arguments = prepare(tmp_path, split, batch_size=2)
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    with torch.no_grad():
        for name, parameter in checkpoint.network.named_parameters():
            if name.startswith(part):
                parameter.fill_(value)
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    with pytest.raises(SystemExit) as ended:
        predict.main(arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list((tmp_path / "out").glob("*"))


def test_images_with_more_things_than_queries_are_counted(
    split: TinySplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = prepare(tmp_path, split, batch_size=1)
    index = PanopticIndex.load(tmp_path / "index.json")
    config = replace(NETWORK, queries=3, selected_queries=4)
    network = PanopticSegFormer(config, len(index.categories.things), len(index.categories.stuff))
    save_checkpoint(tmp_path / "model.safetensors", Checkpoint(config, index.categories, {}, network))
    predict.main(arguments)
    things = {category.id for category in index.categories.things}
    counts = [
        sum(not segment.is_crowd and segment.category_id in things for segment in record.segments)
        for record in index.records
    ]
    assert sum(count > 3 for count in counts) > 0 < sum(count > 4 for count in counts)
    expected = (
        f"{sum(count > 3 for count in counts)} of 5 images have more than 3 things, one has {max(counts)}: more than "
        "model.queries (3) and model.selected_queries (4) can find"
    )
    assert f"warning: {tmp_path / 'index.json'}: {expected}" in capsys.readouterr().err
