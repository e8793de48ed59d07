"""The section about other ways of inference says what its files say, and a run without them has none."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic.io.errors import DatasetError
from panoptic.report.explained import IMAGES, Drawing, Estimate
from panoptic.report.page import render
from panoptic.report.run_files import RunFiles
from panoptic.report.variants import (
    EARLY_EXIT_FILE,
    MERGING_FILE,
    EarlyExit,
    LayerExit,
    MergingComparison,
    OtherMerging,
)
from panoptic.report.variants_contents import early_exit_figure
from tests.panoptic.report.made_runs import write_run

MERGING = MergingComparison(
    images=6,
    pq=Estimate(0.801, 0.787, 0.814),
    others=(
        OtherMerging("pixel", Estimate(0.772, 0.757, 0.787), Estimate(0.029, 0.018, 0.04), 4, 2),
        OtherMerging("pixel_class", Estimate(0.8, 0.78, 0.82), Estimate(0.001, -0.01, 0.012), 3, 3),
        OtherMerging("detr", Estimate(0.7, 0.69, 0.71), Estimate(0.101, 0.09, 0.112), 5, 1),
        OtherMerging("<own>", Estimate(0.9), Estimate(-0.099), 0, 6),
    ),
    drawings=(Drawing("merging", "merging-01.png", "<desk>.jpg", "query 7: laptop 0.90; the argmax drops it"),),
)


def layer(name: str, pq: float, milliseconds: float) -> LayerExit:
    groups = {"all": Estimate(pq, pq - 0.01, pq + 0.01), "things": Estimate(pq, pq - 0.02, pq + 0.02)}
    times = Estimate(milliseconds, milliseconds - 1, milliseconds + 2), Estimate(milliseconds / 20)
    return LayerExit(name, groups, Estimate(0.9 - pq, -0.01, 0.3), *times)


EARLY_EXIT = EarlyExit(6, 2, "cpu, 2 threads", (layer("1", 0.7, 10), layer("2", 0.85, 15), layer("all", 0.9, 20)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = write_run(tmp_path)
    folder = run / "explain"
    (folder / IMAGES).mkdir(parents=True)
    cv2.imwrite(str(folder / IMAGES / "merging-01.png"), np.full((30, 40, 3), 90, np.uint8))
    (folder / MERGING_FILE).write_bytes(MERGING.encode())
    (folder / EARLY_EXIT_FILE).write_bytes(EARLY_EXIT.encode())
    return run


def section(run: Path) -> str:
    """The text of the section; empty if there is none."""
    found = re.search(r'<section id="variants">.*?</section>', render(RunFiles.read(run)), re.DOTALL)
    return found[0] if found else ""


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables, without markup."""
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL)]
    plain = [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in cells]
    return [row for row in plain if row]


def test_numbers_have_their_intervals_and_verdicts(run: Path) -> None:
    found = rows(section(run))
    assert found[:5] == [
        ["mask-wise (m)", "80.1 (78.7 to 81.4)", "", "", "", ""],
        ["argmax per pixel (p)", "77.2 (75.7 to 78.7)", "2.9 (1.8 to 4.0)", "4", "2", "better, as in the paper"],
        ["argmax of class and mask (p*)", "80.0 (78.0 to 82.0)", "0.1 (-1.0 to 1.2)", "3", "3", "undecided"],
        ["DETR&#39;s argmax (p)", "70.0 (69.0 to 71.0)", "10.1 (9.0 to 11.2)", "5", "1", "better, as in the paper"],
        ["&lt;own&gt;", "90.0", "-9.9", "0", "6", "not said without resamples"],
    ]
    assert found[5][:2] == ["1", "70.0 (69.0 to 71.0)"]
    assert found[5][2:] == ["70.0 (68.0 to 72.0)", "", "20.0 (-1.0 to 30.0)", "10.0 (9.0 to 12.0)", "50.0"]
    assert found[7] == ["all", "90.0 (89.0 to 91.0)", "90.0 (88.0 to 92.0)", "", "", "20.0 (19.0 to 22.0)", ""]


def test_drawings_are_shown_and_hostile_names_are_escaped(run: Path) -> None:
    text = section(run)
    assert text.count("data:image/webp") == 1
    assert "&lt;desk&gt;.jpg" in text
    assert "<own>" not in text


def test_a_run_may_have_one_part_or_none(run: Path) -> None:
    (run / "explain" / MERGING_FILE).unlink()
    text = section(run)
    assert "Early exit" in text
    assert "argmax" not in text
    (run / "explain" / EARLY_EXIT_FILE).unlink()
    assert section(run) == ""


def test_a_damaged_file_is_named(run: Path) -> None:
    (run / "explain" / EARLY_EXIT_FILE).write_text('{"images": 6, "batch_size": 2, "device": "cpu", "layers": [{}]}')
    with pytest.raises(DatasetError, match=EARLY_EXIT_FILE):
        RunFiles.read(run)


def test_the_curve_goes_through_the_layers_in_their_order() -> None:
    axes = early_exit_figure(EARLY_EXIT).axes[0]
    line = axes.lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [10, 15, 20]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([70, 85, 90])
    assert [text.get_text() for text in axes.texts] == ["1", "2", "all"]
