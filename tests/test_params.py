"""The settings in the repository are accepted by the stages, and configure the models they claim to."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import get_type_hints

import pytest

from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.published.models import PUBLISHED as MODELS
from model.training.settings import TrainSettings
from panoptic.datasets.known import DATASETS
from panoptic.datasets.layout import DatasetSettings
from panoptic.runtime.settings import flat_settings
from pipelines.dvc_project.parameters import read_parameters
from pipelines.override import experiment_files, override_settings
from stages.check_settings import SCHEMAS, check_settings
from stages.settings import SECTIONS, load_section

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
EXPERIMENTS = ROOT / "experiments"
FILES = sorted(EXPERIMENTS.rglob("*.yaml"))
ABLATIONS = sorted([*(EXPERIMENTS / "ablations").iterdir(), *(EXPERIMENTS / "readings").iterdir()])
"""Files that go on top of anything."""
_STACKED = [
    EXPERIMENTS / f"{name}.yaml"
    for name in ("ade20k", "cityscapes", "coco128-r50", "coco128-r50_small", "coco_r50_24e_plus")
]
ON_COCO = sorted([*(EXPERIMENTS / "coco").iterdir(), *_STACKED])
ON_COCO128 = sorted(path for path in EXPERIMENTS.glob("coco128-*.yaml") if path not in ON_COCO)


@dataclass(frozen=True)
class Published:
    """A row of the tables in experiments/README.md: its stack of files, and its model in model/published if any."""

    row: str
    names: tuple[str, ...]
    model: str

    def files(self) -> list[Path]:
        return stacked(*self.names)


def stacked(*names: str) -> list[Path]:
    return [ROOT / file for file in experiment_files(names)]


def published() -> Iterator[Published]:
    cells = r"^\| ([^|]+) \| `([^`]+)` \| (?:`(\w+)`)? *\|"
    for row, names, model in re.findall(cells, (EXPERIMENTS / "README.md").read_text(), re.MULTILINE):
        yield Published(row, tuple(names.split()), model)


PUBLISHED = list(published())
by_row = pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: entry.row)


def base_of(file: Path) -> tuple[Path, ...]:
    """The recipe that a file goes on top of, and nothing for one that goes on top of params.yaml."""
    return tuple(stacked(name)[0] for name, files in (("coco", ON_COCO), ("coco128", ON_COCO128)) if file in files)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def settings_of(*files: Path, folder: Path, base: Path = PARAMS) -> Mapping[str, object]:
    """Return all sections, as the stages read them, of params.yaml with files merged into it."""
    out = folder / "params.yaml"
    override_settings(base, files, out)
    return check_settings(out)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_every_section_fits_its_dataclass(name: str) -> None:
    assert isinstance(load_section(PARAMS, name, SCHEMAS[name]), SCHEMAS[name])


def test_every_section_has_a_dataclass() -> None:
    assert SCHEMAS.keys() == set(SECTIONS)


def test_no_setting_has_a_name_that_the_run_cache_of_dvc_ignores() -> None:
    """A changed `size` or `nfiles` at any level would restore the outputs of the run with the former value."""
    assert not {"size", "nfiles"} & set(names_of_settings(SCHEMAS.values()))


def names_of_settings(schemas: Iterable[object]) -> Iterator[str]:
    for schema in schemas:
        if isinstance(schema, type) and is_dataclass(schema):
            types = get_type_hints(schema)
            yield from types
            yield from names_of_settings(types.values())


@pytest.mark.parametrize("file", FILES, ids=named)
def test_the_stages_accept_every_experiment(file: Path, tmp_path: Path) -> None:
    settings_of(*base_of(file), file, folder=tmp_path)


@pytest.mark.parametrize("file", ABLATIONS, ids=named)
def test_the_stages_accept_every_ablation_at_full_size(file: Path, tmp_path: Path) -> None:
    assert settings_of(*stacked("coco", "coco/12e"), file, folder=tmp_path)


@pytest.mark.parametrize("file", FILES, ids=named)
def test_an_experiment_starts_with_a_comment_that_describes_it(file: Path) -> None:
    assert file.read_text().startswith("# ")


@pytest.mark.parametrize("file", FILES, ids=named)
def test_a_stacked_file_repeats_nothing_of_its_base(file: Path) -> None:
    is_for_any_base = file in [*stacked("coco"), *ABLATIONS] or file.parent.name == "families"
    if not is_for_any_base:
        (base,) = base_of(file) or (PARAMS,)
        same = set(values(read_parameters(file))) & set(values(read_parameters(base)))
        assert not same, f"equal in {named(base)}"


def test_every_recipe_is_in_the_table_of_published_models() -> None:
    listed = {file for entry in PUBLISHED for file in entry.files()}
    assert listed - set(ABLATIONS) == {*stacked("coco"), *ON_COCO}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded settings with every experiment merged into them."""
    params = tmp_path_factory.mktemp("everything") / "params.yaml"
    override_settings(PARAMS, FILES, params)
    return params


@by_row
def test_a_published_model_does_not_depend_on_earlier_settings(
    entry: Published, everything: Path, tmp_path: Path
) -> None:
    """On top of the embedded settings, or of those with every experiment merged into them: the same."""
    clean = settings_of(*entry.files(), folder=tmp_path)
    assert settings_of(*entry.files(), folder=tmp_path, base=everything) == clean


@by_row
def test_a_published_model_is_the_one_whose_parameters_are_counted(entry: Published, tmp_path: Path) -> None:
    if entry.model:
        config = settings_of(*entry.files(), folder=tmp_path)["model"]
        assert isinstance(config, NetworkConfig)
        model = MODELS[entry.model]
        if model.gmacs is None:  # the paper says nothing of drop_path for backbones it does not list
            config = replace(config, drop_path=model.config.drop_path)
        assert config == model.config


@pytest.mark.parametrize(("name", "crops"), [("things_only", 0.5), ("things_only_no_crop", 0.0)])
def test_instances_are_learned_by_the_panoptic_recipe_without_stuff(name: str, crops: float, tmp_path: Path) -> None:
    instances = settings_of(*stacked("coco", f"ablations/{name}"), folder=tmp_path)
    panoptic = settings_of(*stacked("coco"), folder=tmp_path)
    model, train = panoptic["model"], panoptic["train"]
    assert isinstance(model, NetworkConfig)
    assert isinstance(train, TrainSettings)
    augmentation = replace(train.augmentation, crop_probability=crops)
    expected = {"model": replace(model, stuff="none"), "train": replace(train, augmentation=augmentation)}
    assert instances == {**panoptic, **expected}


@by_row
def test_every_published_recipe_has_its_public_dataset(entry: Published, tmp_path: Path) -> None:
    dataset = settings_of(*entry.files(), folder=tmp_path)["dataset"]
    assert isinstance(dataset, DatasetSettings)
    public = DATASETS[dataset.name]
    assert bool(public.needed([dataset.train, dataset.val])) == (not public.hint), (
        "fetched, or the user is told what to do"
    )
    assert dataset.val in public.images.keys() - {public.test}
    assert dataset.root == f"datasets/{dataset.name}"


@by_row
def test_a_published_model_is_trained_in_the_precision_of_its_authors(entry: Published, tmp_path: Path) -> None:
    train = settings_of(*entry.files(), folder=tmp_path)["train"]
    assert isinstance(train, TrainSettings)
    assert train.precision == "float32"


@pytest.mark.parametrize("file", ON_COCO128, ids=named)
def test_what_photographs_are_compared_on_is_equal_but_for_weights_classes_or_size(file: Path, tmp_path: Path) -> None:
    sections = {"all_classes": {"annotate"}, "random": {"model", "train"}, "small": {"train", "predict"}}
    changed = settings_of(*base_of(file), file, folder=tmp_path)
    differ = {
        name for name, settings in settings_of(*base_of(file), folder=tmp_path).items() if settings != changed[name]
    }
    assert differ == sections[file.stem.removeprefix("coco128-")]


@pytest.mark.parametrize(("names", "epochs", "step"), [(["coco", "coco/12e"], 12, 8), (["coco"], 24, 18)])
def test_the_published_recipe_is_equal_to_the_defaults(
    names: list[str], epochs: int, step: int, tmp_path: Path
) -> None:
    settings = settings_of(*stacked(*names), folder=tmp_path)
    model, train, predict = (settings[section] for section in ("model", "train", "predict"))
    assert model == NetworkConfig()
    assert isinstance(train, TrainSettings)
    defaults = TrainSettings()
    pace = {key: getattr(defaults, key) for key in ("workers", "log_every", "save_every", "validate_every")}
    assert replace(train, **pace) == replace(defaults, epochs=epochs, step_epochs=[step])
    assert isinstance(predict, InferenceSettings)
    assert replace(predict, images=0) == InferenceSettings()


# Not read by the full recipe, or without influence on its results.
FREE = {"download.mirrors", "download.from_folder", "download.test"}


def test_the_full_recipe_sets_everything_that_the_embedded_run_sets() -> None:
    """No setting of the small run may remain in the large one, except for the machine it runs on."""
    missing = set(keys(read_parameters(PARAMS))) - set(keys(read_parameters(EXPERIMENTS / "coco.yaml")))
    assert {key for key in missing if not key.startswith(("cluster.", "loggers."))} <= FREE


def test_the_full_recipe_sets_everything_that_decides_a_weight() -> None:
    decisive = {name for name, _ in flat_settings({"model": NetworkConfig(), "train": TrainSettings()})}
    assert decisive - set(keys(read_parameters(EXPERIMENTS / "coco.yaml"))) <= FREE


def keys(section: Mapping[str, object]) -> Iterator[str]:
    """Yield the settings of a document, such as `train.losses.token_class`."""
    yield from (key for key, _ in values(section))


def values(section: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a document and their values."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", repr(value)
