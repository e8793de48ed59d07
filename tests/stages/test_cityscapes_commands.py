"""Cityscapes by the public commands: what is said without it, its annotations, and its recipe in training."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.id_map import ids_to_rgb
from panoptic.index import PanopticIndex
from panoptic.tools.check.__main__ import main as check
from pipelines.override import override_settings
from stages import annotate, download, train
from tests.archive_files import png
from tests.drawn_cityscapes import STEMS, write_cityscapes
from tests.panoptic.datasets.cityscapes.record_reference import RECORDED, ROOT
from tests.stages.own_data import fails

# The recipe at a size for the drawn images, of which four are one step.
SMALL = """
download: {published: false}
model: {backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 2, levels: 3, points: 2,
  encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32,
  mask_feedforward: 32, queries: 30, selected_queries: 30}
train: {initial_weights: random, epochs: 10, step_epochs: [8], batch_size: 4, images_per_forward: 2, workers: 0,
  learning_rate: 3e-3, log_every: 1, validate_every: 10,
  augmentation: {crop_resize_shorter: [32, 64, 128], crop_min: 45, crop_max: 45}}
predict: {shorter: 64, longer: 128}
"""


class Project:
    """The recipe, made small, and the commands that follow it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.params = folder, folder / "cityscapes", folder / "params.yaml"
        (folder / "small.yaml").write_text(SMALL)
        recipe = [ROOT / f"experiments/{name}.yaml" for name in ("coco", "cityscapes")]
        override_settings(ROOT / "params.yaml", [*recipe, folder / "small.yaml"], self.params)

    def edit(self, old: str, new: str) -> None:
        text = self.params.read_text()
        assert old in text
        self.params.write_text(text.replace(old, new))

    def paths(self, **options: str) -> list[str]:
        return [
            word for name, path in options.items() for word in (f"--{name.replace('_', '-')}", str(self.folder / path))
        ]

    def download(self) -> None:
        download.main(self.paths(params="params.yaml", root="cityscapes", manifest="manifest.json"))

    def annotate(self) -> Path:
        common = self.paths(params="params.yaml", root="cityscapes", manifest="manifest.json", state="state")
        annotate.main([*common, *self.paths(output="annotate")])
        return self.folder / "annotate"

    def train(self) -> None:
        indices = self.paths(train_index="annotate/train.index", val_index="annotate/val.index", params="params.yaml")
        train.main([*indices, *self.paths(state="state", model="model.safetensors", curves="curves")])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_cityscapes(tmp_path / "cityscapes")
    return Project(tmp_path)


def test_annotations_are_those_of_cityscapes_scripts(project: Project) -> None:
    """Read all images of both splits from files that any reader of COCO's panoptic format takes."""
    project.download()
    manifest = json.loads((project.folder / "manifest.json").read_text())
    assert manifest["archives"] == []
    assert {role: split["image_count"] for role, split in manifest["splits"].items()} == {"train": 4, "val": 2}
    annotated = project.annotate()
    for split, expected in json.loads(RECORDED.read_text()).items():
        written = json.loads((annotated / f"panoptic_{split}.json").read_text())
        assert written["annotations"] == expected["annotations"]
        names = [f"{stem}_leftImg8bit.png" for stem in STEMS[split]]
        images = [image | {"file_name": name} for image, name in zip(expected["images"], names, strict=True)]
        assert written["images"] == images
        assert sorted(written["categories"], key=_id) == sorted(expected["categories"], key=_id)
        index = PanopticIndex.load(annotated / f"{split}.index")
        assert list(index.records) == list(
            build_index(annotated / f"panoptic_{split}.json", index.masks, project.root / "leftImg8bit" / split).records
        )
        reader = PanopticReader(index)
        for record, name in zip(index.records, names, strict=True):
            sample = reader.sample(record)
            assert sha256(ids_to_rgb(sample.ids).tobytes()).hexdigest() == expected["pixels"][record.mask_name]
            image = np.asarray(Image.open(project.root / "leftImg8bit" / split / name))
            np.testing.assert_array_equal(sample.image, image)


def _id(category: dict[str, int]) -> int:
    return category["id"]


def test_the_recipe_trains_ten_steps(project: Project) -> None:
    project.download()
    project.annotate()
    project.train()
    rows = (project.folder / "curves/loss.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[2]) for row in rows]
    assert len(losses) == 10
    assert np.isfinite(losses).all()
    assert sum(losses[-3:]) < sum(losses[:3])
    description = json.loads((project.folder / "model.json").read_text())
    assert len(description["categories"]) == 19


def test_all_that_is_needed_is_said_where_nothing_is(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(project.root)
    error = fails(project.download, 2, capsys)
    assert f"missing: {project.root}/leftImg8bit/train, {project.root}/gtFine/train; unpack" in error
    assert "register at https://www.cityscapes-dataset.com, log in" in error
    assert "download leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB)" in error
    assert "set dataset.root to it" in error
    assert not (project.folder / "manifest.json").exists()


WRONG: dict[str, tuple[str, str, str]] = {
    "published number": ("published: false", "published: true", "split 'train' should have 2975 images, but "),
    "folder of archives": ('from_folder: ""', "from_folder: archives", "download.from_folder: 'cityscapes' has no "),
    "test split": ("val: val", "val: test", "split 'test' has no annotations to train or to evaluate on; name one of"),
    "unknown split": ("train: train", "train: training", "no split 'training'; there are: train, val, test"),
}


@pytest.mark.parametrize("issue", WRONG)
def test_a_wrong_setting_is_refused(project: Project, capsys: pytest.CaptureFixture[str], issue: str) -> None:
    old, new, message = WRONG[issue]
    project.edit(old, new)
    assert message in fails(project.download, 2, capsys)


def test_the_test_split_is_refused_without_a_download(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.download()
    project.edit("val: val", "val: test")
    assert "split 'test' has no annotations to train or to evaluate on" in fails(project.annotate, 2, capsys)


def test_images_of_the_test_split_are_counted_on_request(project: Project) -> None:
    project.edit("test: false", "test: true")
    project.download()
    splits = json.loads((project.folder / "manifest.json").read_text())["splits"]
    assert (splits["test"]["split"], splits["test"]["image_count"]) == ("test", 2)


def test_a_missing_map_is_named_by_both_commands(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.download()
    name = f"{STEMS['val'][1]}_gtFine_labelIds.png"
    (project.root / "gtFine/val" / name).unlink()
    for command in (project.download, project.annotate):
        assert f"{project.root}/gtFine/val: {name} is missing; unpack its archive again" in fails(command, 2, capsys)
    assert not (project.folder / "annotate").exists()


def test_all_wrong_maps_are_named_together(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.download()
    for stem in STEMS["train"][:3]:
        (project.root / f"gtFine/train/{stem}_gtFine_labelIds.png").write_bytes(png(np.full((64, 128), 40, np.uint8)))
    assert "3 issues found" in (error := fails(project.annotate, 2, capsys))
    assert error.count("unknown label ids 40") == 3
    assert not (project.folder / "annotate").exists()


def test_the_check_of_own_data_recognizes_the_folder(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(lambda: check([str(project.root)]), 2, capsys)
    assert "this is cityscapes as it is published; set dataset.name to cityscapes" in error
