from dataclasses import dataclass, field
from pathlib import Path

import pytest

from panoptic.data.transforms import AugmentationSettings
from panoptic.datasets.layout import DatasetSettings
from panoptic.runtime.settings import SettingsError
from stages.settings import load_section


@dataclass(frozen=True)
class Schema:
    """Settings as a stage would have them."""

    learning_rate: float
    steps: int = 10
    name: str = "x"
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    limit: float | None = None
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def test_values_are_typed_and_defaults_fill_the_gaps(params: Path) -> None:
    params.write_text("train: {learning_rate: 1e-4, sizes: [], limit: 3, augmentation: {crop_min: 9}}\nmodel: {a: 1}")
    section = load_section(params, "train", Schema)
    assert section == Schema(1e-4, sizes=[], limit=3.0, augmentation=AugmentationSettings(crop_min=9))
    assert isinstance(section.limit, float)


def test_an_empty_section_is_all_defaults(params: Path) -> None:
    params.write_text("dataset:\n")
    assert load_section(params, "dataset", DatasetSettings) == DatasetSettings()


VALID = r"(.|\n)*valid keys:(.|\n)*learning_rate: float(.|\n)*sizes: list\[int\]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {learning_rat: 1}", r"train\.learning_rat: unknown key \(did you mean 'learning_rate'\?\)" + VALID),
        ("train: {learning_rate: 1, qqq: 1}", r"train\.qqq: unknown key" + VALID),
        ("train: {learning_rate: fast}", r"train\.learning_rate: .*'fast'.*Float" + VALID),
        ("train: {learning_rate: 1, steps: 1.5}", r"train\.steps: .*'1\.5'.*Integer" + VALID),
        ("train: {learning_rate: 1, steps: true}", r"train\.steps: .*'True'.*Integer" + VALID),
        ("train: {learning_rate: 1, sizes: [3, a]}", r"train\.sizes\[1\]: .*'a'.*Integer" + VALID),
        ("train: {learning_rate: 1, sizes: 3}", r"train.*correct the value" + VALID),
        ("train: {learning_rate: null}", r"train\.learning_rate: .*None" + VALID),
        ("train: {steps: 3}", r"train\.learning_rate: missing" + VALID),
        ("train: [1]", "'train' should hold keys and values" + VALID),
        ("train: {learning_rate: 1, augmentation: {crop_mim: 3}}", r"train\.augmentation\.crop_mim: .*'crop_min'"),
        ("train: {learning_rate: 1, augmentation: 3}", r"train\.augmentation: should hold keys and values"),
        ("train: {learning_rate: 1, augmentation: {crop_min: 900}}", r"params\.yaml: train: augmentation: .*900"),
        ("trian: {learning_rate: 1}", r"unknown section 'trian' \(did you mean 'train'\?\)"),
        ("model: {a: 1}\ndataset: {a: 1}", r"no section 'train'; there are: dataset, model"),
        ("- 1", "expected sections"),
        ("train: {", "not valid YAML"),
    ],
)
def test_a_typo_or_wrong_type_is_refused_with_what_is_valid(params: Path, text: str, message: str) -> None:
    params.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_section(params, "train", Schema)
    assert str(params) in str(caught.value)


def test_a_missing_file_is_named(params: Path) -> None:
    with pytest.raises(SettingsError, match=r"params\.yaml: there is no such file"):
        load_section(params, "train", Schema)
