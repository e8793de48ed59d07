"""The settings that ship with the repository are what the stages accept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import get_type_hints

import pytest

from model.inference.predict import InferenceSettings
from model.network.config import NetworkConfig
from model.published import PUBLISHED as MODELS
from model.training.settings import TrainSettings
from panoptic.datasets.known import DATASETS
from panoptic.datasets.layout import DatasetSettings
from pipelines.dvc_project.parameters import read_parameters
from pipelines.override import lay_over
from stages.check_settings import SCHEMAS, check_settings
from stages.settings import SECTIONS, load_section

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
EXPERIMENTS = ROOT / "experiments"
OVERLAYS = sorted(EXPERIMENTS.rglob("*.yaml"))
ABLATIONS = sorted((EXPERIMENTS / "ablations").iterdir())
PUBLISHED = sorted(
    path
    for path in EXPERIMENTS.glob("*.yaml")
    if path.name.startswith(("coco_", "ade20k_")) and "sample" not in path.name
)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_fits_its_dataclass(name: str) -> None:
    assert isinstance(load_section(PARAMS, name, SCHEMAS[name]), SCHEMAS[name])


def test_every_section_has_a_dataclass() -> None:
    assert SCHEMAS.keys() == set(SECTIONS)


def test_no_setting_has_a_name_that_the_run_cache_of_dvc_does_not_see() -> None:
    """Another `size` or `nfiles`, wherever it stands, would bring back the outputs of a run that had the former one."""
    assert not {"size", "nfiles"} & set(names_of_settings(SCHEMAS.values()))


def names_of_settings(schemas: Iterable[object]) -> Iterator[str]:
    for schema in schemas:
        if isinstance(schema, type) and is_dataclass(schema):
            types = get_type_hints(schema)
            yield from types
            yield from names_of_settings(types.values())


@pytest.mark.parametrize("overlay", OVERLAYS, ids=named)
def test_an_overlay_gives_settings_that_the_stages_accept(overlay: Path, tmp_path: Path) -> None:
    out = tmp_path / "params.yaml"
    lay_over(PARAMS, [overlay], out)
    check_settings(out)


@pytest.mark.parametrize("overlay", ABLATIONS, ids=named)
def test_an_ablation_also_lies_over_the_full_size(overlay: Path, tmp_path: Path) -> None:
    out = tmp_path / "params.yaml"
    assert lay_over(PARAMS, [EXPERIMENTS / "coco_r50_12e.yaml", overlay], out)
    check_settings(out)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=named)
def test_an_overlay_begins_with_what_it_is(overlay: Path) -> None:
    assert overlay.read_text().startswith("# ")


@pytest.mark.parametrize("overlay", PUBLISHED, ids=named)
def test_a_published_model_does_not_depend_on_what_it_is_laid_over(overlay: Path, tmp_path: Path) -> None:
    """Laid over the embedded settings, or over those of all ablations: the same."""
    clean, dirty = tmp_path / "clean.yaml", tmp_path / "dirty.yaml"
    lay_over(PARAMS, [overlay], clean)
    lay_over(PARAMS, [*ABLATIONS, overlay], dirty)
    assert check_settings(dirty) == check_settings(clean)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("coco_r50_12e", "r50"),
        ("coco_r50_24e", "r50"),
        ("coco_r101_24e", "r101"),
        ("coco_pvtv2_b5_24e", "pvtv2_b5"),
        ("coco_swin_l_24e", "swin_l"),
        ("coco_v1_r50_12e", "v1_r50"),
        ("coco_v1_r50_50e", "v1_r50"),
        ("ade20k_r50", "r50"),
        ("coco_detr_r50", "detr_r50"),
        ("coco_d_detr_ms_r50", "d_detr_ms_r50"),
    ],
)
def test_a_published_model_is_the_one_whose_parameters_are_counted(name: str, model: str, tmp_path: Path) -> None:
    assert [EXPERIMENTS / f"{name}.yaml"] == [path for path in PUBLISHED if path.stem == name]
    out = tmp_path / "params.yaml"
    lay_over(PARAMS, [EXPERIMENTS / f"{name}.yaml"], out)
    assert load_section(out, "model", NetworkConfig) == MODELS[model].config


@pytest.mark.parametrize(("name", "crops"), [("coco_instances_r50_24e", 0.5), ("coco_instances_r50_24e_no_crop", 0.0)])
def test_instances_are_learnt_by_the_panoptic_recipe_without_stuff(name: str, crops: float, tmp_path: Path) -> None:
    laid = []
    for recipe in (name, "coco_r50_24e"):
        out = tmp_path / f"{recipe}.yaml"
        lay_over(PARAMS, [EXPERIMENTS / f"{recipe}.yaml"], out)
        laid.append(check_settings(out))
    instances, panoptic = laid
    model, train = panoptic["model"], panoptic["train"]
    assert isinstance(model, NetworkConfig)
    assert isinstance(train, TrainSettings)
    augmentation = replace(train.augmentation, crop_probability=crops)
    expected = {"model": replace(model, stuff="none"), "train": replace(train, augmentation=augmentation)}
    assert instances == panoptic | expected


def test_a_public_dataset_is_fetched_by_every_recipe_for_it() -> None:
    for overlay in PUBLISHED:
        dataset = load_section(overlay, "dataset", DatasetSettings)
        public = DATASETS[dataset.name]
        assert public.needed([dataset.train, dataset.val])
        assert dataset.root == f"datasets/{dataset.name}"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("backbone_pvtv2_b0", "pvtv2_b0"),
        ("backbone_pvtv2_b2", "pvtv2_b2"),
        ("backbone_swin_t", "swin_t"),
        ("backbone_swin_s", "swin_s"),
        ("backbone_swin_b", "swin_b"),
    ],
)
def test_another_backbone_is_laid_over_a_published_model(name: str, model: str, tmp_path: Path) -> None:
    out = tmp_path / "params.yaml"
    lay_over(PARAMS, [EXPERIMENTS / "coco_r50_24e.yaml", EXPERIMENTS / f"{name}.yaml"], out)
    config = load_section(out, "model", NetworkConfig)
    assert replace(config, drop_path=MODELS[model].config.drop_path) == MODELS[model].config


@pytest.mark.parametrize(("name", "epochs", "step"), [("coco_r50_12e", 12, 8), ("coco_r50_24e", 24, 18)])
def test_the_published_recipe_is_what_the_defaults_are(name: str, epochs: int, step: int, tmp_path: Path) -> None:
    out = tmp_path / "params.yaml"
    lay_over(PARAMS, [EXPERIMENTS / f"{name}.yaml"], out)
    model, train, predict = (check_settings(out)[section] for section in ("model", "train", "predict"))
    assert model == NetworkConfig()
    assert isinstance(train, TrainSettings)
    defaults = TrainSettings()
    pace = {key: getattr(defaults, key) for key in ("workers", "log_every", "save_every", "validate_every")}
    assert replace(train, **pace) == replace(defaults, epochs=epochs, step_epochs=[step])
    assert isinstance(predict, InferenceSettings)
    assert replace(predict, images=0) == InferenceSettings()


# Read by no full recipe, or of no influence on its results.
FREE = {"download.mirrors", "download.from_folder", "download.test", "train.muon_learning_rate"}


@pytest.mark.parametrize("overlay", PUBLISHED, ids=named)
def test_a_published_recipe_sets_all_that_the_embedded_run_sets(overlay: Path) -> None:
    """So that nothing of the small run is left in the large one, but the machine that it runs on."""
    missing = set(keys(read_parameters(PARAMS))) - set(keys(read_parameters(overlay)))
    assert {key for key in missing if not key.startswith("cluster.")} <= FREE


def keys(section: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The settings of a document, as `train.losses.token_class`."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
