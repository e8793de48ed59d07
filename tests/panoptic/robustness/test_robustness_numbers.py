"""The numbers of table 11, computed by hand on few variants."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import write_json
from panoptic.robustness import corruptions, summary
from panoptic.robustness.corruptions import Corruption, Variant
from panoptic.robustness.figures import group_figures, png_file, severity_figure
from panoptic.robustness.summary import (
    Measures,
    Robustness,
    metrics_to_json,
    narrow_table,
    read_variants,
    severity_csv,
    table,
    variants_to_json,
)
from tests.markdown import unpadded


def qualities(everything: float | None, things: float | None = 0.5, stuff: float | None = None) -> Measures:
    return {"pq": {"all": everything, "things": things, "stuff": stuff}}


@pytest.fixture
def measured() -> Robustness:
    """Means by corruption: fog 0.4, motion blur 0.3; by severity: 0.5 and 0.2."""
    variants = {
        Variant("fog", 5): qualities(0.2, 0.1),
        Variant("fog", 1): qualities(0.6, 0.3),
        Variant("motion_blur", 1): qualities(0.4, 0.2),
        Variant("motion_blur", 5): qualities(0.2, 0.0),
    }
    return Robustness(qualities(0.7), variants)


def test_means_are_over_severities_first_and_relative_to_clean(measured: Robustness) -> None:
    metrics = metrics_to_json(measured)
    assert metrics["clean"] == {"all": 0.7, "things": 0.5, "stuff": None}
    assert metrics["mean"] == {"all": pytest.approx(0.35), "things": pytest.approx(0.15), "stuff": None}
    assert metrics["relative"] == {"all": pytest.approx(0.5), "things": pytest.approx(0.3), "stuff": None}
    assert metrics["corruptions"] == {
        "motion_blur": {"all": pytest.approx(0.3), "things": pytest.approx(0.1), "stuff": None},
        "fog": {"all": pytest.approx(0.4), "things": pytest.approx(0.2), "stuff": None},
    }


@pytest.mark.parametrize("clean", [0.0, None])
def test_without_clean_quality_nothing_is_relative(clean: float | None, measured: Robustness) -> None:
    metrics = metrics_to_json(Robustness(qualities(clean), measured.variants))
    assert metrics["relative"] == {"all": None, "things": pytest.approx(0.3), "stuff": None}
    assert "retained" not in table(Robustness(qualities(clean), measured.variants), 2)


def test_everything_measured_is_listed(measured: Robustness) -> None:
    listed = variants_to_json(measured)
    assert listed["clean"] == qualities(0.7)
    assert listed["corruptions"] == {
        "motion_blur": {"1": qualities(0.4, 0.2), "5": qualities(0.2, 0.0)},
        "fog": {"1": qualities(0.6, 0.3), "5": qualities(0.2, 0.1)},
    }


def test_the_curve_starts_at_the_clean_quality(measured: Robustness) -> None:
    rows = list(csv.reader(severity_csv(measured).splitlines()))
    assert rows[0] == ["severity", "mean", "motion_blur", "fog"]
    assert [[float(value) for value in row] for row in rows[1:]] == [[0, 70, 70, 70], [1, 50, 40, 60], [5, 20, 20, 20]]


def test_unknown_values_are_empty(measured: Robustness) -> None:
    unknown = Robustness(qualities(None), {Variant("fog", 1): qualities(None)})
    assert severity_csv(unknown) == "severity,mean,fog\n0,,\n1,,\n"
    assert "| 1 | - | - | - |" in unpadded(table(unknown, 1))
    assert png_file(severity_figure(unknown))


def test_the_table_has_the_papers_columns_and_every_severity(measured: Robustness) -> None:
    lines = unpadded(table(measured, 12)).splitlines()
    assert lines[0] == "PQ in percent on 12 images; means over severities 1, 5."
    assert "| classes | clean | mean | blur: Motion | weather: Fog |" in lines
    assert "| all | 70.0 | 35.0 | 30.0 | 40.0 |" in lines
    assert "| stuff | - | - | - | - |" in lines
    assert "| 1 | 70.0 | 50.0 | 40.0 | 60.0 |" in lines
    assert lines[-1] == "On average, 50.0 % of the clean PQ is retained under corruption."


def test_the_printed_table_has_the_same_numbers_in_a_row_for_each_corruption(measured: Robustness) -> None:
    lines = unpadded(narrow_table(measured, 12)).splitlines()
    assert lines[0] == "PQ in percent on 12 images: means over severities 1, 5, and of all at each."
    assert "| corruption | all | things | stuff | 1 | 5 |" in lines
    assert "| clean | 70.0 | 50.0 | - | 70.0 | 70.0 |" in lines
    assert "| mean | 35.0 | 15.0 | - | 50.0 | 20.0 |" in lines
    assert "| blur: Motion | 30.0 | 10.0 | - | 40.0 | 20.0 |" in lines
    assert "| weather: Fog | 40.0 | 20.0 | - | 60.0 | 20.0 |" in lines
    assert lines[-1] == "On average, 50.0 % of the clean PQ is retained under corruption."


def test_the_printed_table_of_all_corruptions_fits_a_terminal() -> None:
    variants = {Variant(name, level): qualities(0.5) for name in corruptions.CORRUPTIONS for level in range(1, 6)}
    lines = narrow_table(Robustness(qualities(0.7), variants), 5000).splitlines()
    assert max(map(len, lines)) <= 100


def test_the_image_can_be_decoded_and_shows_what_changed(measured: Robustness) -> None:
    def drawn(robustness: Robustness) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(png_file(severity_figure(robustness)), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return image

    first = drawn(measured)
    assert first.shape[0] > 400
    assert np.array_equal(first, drawn(measured))
    assert not np.array_equal(first, drawn(Robustness(qualities(0.1), measured.variants)))


def test_no_line_leaves_its_panel() -> None:
    variants = {Variant("motion_blur", 1): qualities(0.3), Variant("fog", 1): qualities(0.95)}
    for panel in severity_figure(Robustness(qualities(0.5), variants)).axes:
        bottom, top = panel.get_ylim()
        assert bottom == 0
        assert max(np.max(np.asarray(line.get_ydata())) for line in panel.lines) <= top
        assert top > 95


def test_a_fifth_corruption_in_a_group_and_one_of_ones_own_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    added = tuple(Corruption(f"rain_{number}", "weather", f"Rain{number}") for number in range(9))
    monkeypatch.setattr(corruptions, "TABLE", (*corruptions.TABLE, *added))
    names = (*corruptions.CORRUPTIONS, *(corruption.name for corruption in added))
    monkeypatch.setattr(corruptions, "CORRUPTIONS", names)
    monkeypatch.setattr(summary, "CORRUPTIONS", names)
    own = "my_corruptions:hail"
    measured = Robustness(qualities(0.7), {Variant(name, 1): qualities(0.5) for name in (own, *names)})
    assert measured.corruptions == (*names, own)
    assert list(measured.groups) == ["blur", "noise", "digital", "weather", "own"]
    assert png_file(severity_figure(measured))
    assert "| weather: Rain8 | own: my_corruptions:hail |" in unpadded(table(measured, 1))


def test_variants_come_back_as_written(measured: Robustness, tmp_path: Path) -> None:
    write_json(tmp_path / "variants.json", variants_to_json(measured))
    found = read_variants(tmp_path / "variants.json")
    assert (found.clean, found.variants) == (measured.clean, measured.variants)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"fog"', '"frog"', r"there is no corruption 'frog'"),
        ('"5"', '"6"', r"of severity 6; give a severity from 1 to 5"),
        ('"5"', '"five"', r"invalid literal"),
        ('"pq"', '"qp"', r"has no 'pq'"),
        ('"1": {', '"4": {', r"lacks a severity of some corruption"),
        ("0.7", '"0.7"', r"'all' should be a finite number"),
    ],
)
def test_wrong_variants_are_named(old: str, new: str, message: str, measured: Robustness, tmp_path: Path) -> None:
    text = json.dumps(variants_to_json(measured))
    (tmp_path / "variants.json").write_text(text.replace(old, new, 1))
    with pytest.raises(DatasetError, match=rf"variants\.json.*{message}"):
        read_variants(tmp_path / "variants.json")


def test_each_group_has_a_figure_of_its_own_with_equal_limits(measured: Robustness) -> None:
    figures = group_figures(measured)
    assert list(figures) == ["blur", "weather"]
    assert len({figure.axes[0].get_ylim() for figure in figures.values()}) == 1
    lines = [line.get_label() for line in figures["weather"].axes[0].lines]
    assert lines == ["mean of all", "fog"]
