"""The plots are drawn from the tables that training and evaluation write, and DVC's page needs no network."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from stages.plot import lines_figure, main, read_table

ROOT = Path(__file__).parents[2]


def write_tables(folder: Path) -> None:
    (folder / "loss.csv").write_text("step,total\n20,18.5\n40,12.5\n")
    (folder / "quality.csv").write_text("step,all,things,stuff\n20,31,0,62\n40,32,,\n")
    (folder / "pq_loss.csv").write_text("error,all,things\nmerging,0.25,0.5\nmissed,0.5,1\n")
    (folder / "oracle.csv").write_text("oracle,all\nno_oracle,0.25\nperfect_masks,\n")


def test_every_table_becomes_a_plot(tmp_path: Path) -> None:
    write_tables(tmp_path)
    main(["--curves", str(tmp_path), "--scores", str(tmp_path), "--out", str(tmp_path / "plots")])
    plots = sorted((tmp_path / "plots").iterdir())
    assert [path.name for path in plots] == ["loss.png", "oracle.png", "pq_loss.png", "quality.png"]
    for path in plots:
        assert np.ptp(np.asarray(Image.open(path).convert("L"))) > 200, "it is blank"


def test_a_table_is_read_by_columns(tmp_path: Path) -> None:
    write_tables(tmp_path)
    assert read_table(tmp_path / "quality.csv")["things"] == ["0", ""]


def test_a_single_validation_is_drawn_in_full_from_step_0() -> None:
    figure = lines_figure("PQ", "percent", {"step": ["90"], "all": ["0"]}, ["all"])
    axes, (line,) = figure.axes[0], figure.axes[0].lines
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlim()[1] >= 90
    assert axes.get_ylim()[0] == 0
    assert all(step.is_integer() for step in axes.get_xticks())
    assert not line.get_clip_on(), "the lower half of the marker would be outside the axes"


def test_the_page_of_dvcs_plots_loads_nothing_from_the_internet(tmp_path: Path) -> None:
    """The project's own list of plots, on images in place of its own."""
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    for name in ("runs/plots/loss.png", "runs/robustness/severity.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    subprocess.run([sys.executable, "-m", "dvc", "plots", "show"], cwd=tmp_path, check=True, capture_output=True)
    page = tmp_path / "dvc_plots" / "index.html"
    shown = re.findall(r'<img[^>]*src="([^"]+)"', page.read_text())
    assert len(shown) == 2
    assert all((page.parent / name).is_file() for name in shown)
    assert not re.search(r"https?://|<script", page.read_text())
