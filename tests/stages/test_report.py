"""The report stage: one page and the plots of a run, whatever the run lacks; DVC's page of plots needs no network."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from panoptic.report.browsed import Browsed
from panoptic.report.images import ImageFiles
from panoptic.report.run_files import MISSING
from stages.report import main
from tests.panoptic.report.made_runs import write_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def test_the_report_is_written_beside_the_run_and_says_where(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(run)])
    page = run / "report.html"
    assert capsys.readouterr().out.splitlines() == [
        f"report: {page} ({page.stat().st_size / 1e3:.0f} kB)",
        f"open it: {page.resolve().as_uri()}",
    ]
    assert page.stat().st_size < 6e6


def test_equal_runs_give_equal_files(run: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        main([str(run), "--out", str(out / "report.html"), "--plots", str(out / "plots")])
    first, second = ({path.name: path.read_bytes() for path in out.rglob("*.*")} for out in outs)
    assert first == second
    assert set(first) == {"report.html", "loss.png", "oracle.png", "pq_loss.png", "quality.png"}


def test_every_table_becomes_a_plot(run: Path, tmp_path: Path) -> None:
    main([str(run), "--out", str(tmp_path / "report.html"), "--plots", str(tmp_path / "plots")])
    plots = sorted((tmp_path / "plots").iterdir())
    assert [path.name for path in plots] == ["loss.png", "oracle.png", "pq_loss.png", "quality.png"]
    for path in plots:
        assert np.ptp(np.asarray(Image.open(path).convert("L"))) > 200, "it is blank"


def test_scores_alone_are_enough_and_every_missing_part_is_named(run: Path, tmp_path: Path) -> None:
    scores = tmp_path / "other/evaluate/metrics.json"
    scores.parent.mkdir(parents=True)
    known = json.loads((run / "evaluate/metrics.json").read_text())
    scores.write_text(json.dumps({name: value for name, value in known.items() if name != "segments_by_size"}))
    main([str(tmp_path / "other"), "--plots", str(tmp_path / "plots")])
    page = re.sub("</?code>", "`", (tmp_path / "other/report.html").read_text())
    assert [name for name, text in MISSING.items() if text not in page] == []
    assert not (tmp_path / "plots").exists()
    main([str(run)])
    page = re.sub("</?code>", "`", (run / "report.html").read_text())
    assert [name for name, text in MISSING.items() if text in page] == []


def test_a_run_that_found_nothing_and_logged_nothing_is_reported(run: Path) -> None:
    (run / "train/loss.csv").write_text("step,total\n")
    (run / "train/quality.csv").write_text("step,all,things,stuff\n")
    nothing = re.sub(r"(?<=: )0\.\d+", "null", (run / "evaluate/metrics.json").read_text())
    (run / "evaluate/metrics.json").write_text(nothing)
    lines = (run / "browse/images.jsonl").read_text()
    (run / "browse/images.jsonl").write_text(re.sub(r'"pq": [\d.]+', '"pq": null', lines))
    main([str(run)])
    assert "No image has any segment that counts" in (run / "report.html").read_text()


def test_a_curve_without_its_columns_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "train/loss.csv").write_text("step,sum\n1,2\n")
    with pytest.raises(SystemExit):
        main([str(run)])
    assert f"{run / 'train/loss.csv'}: has no column total; write it again" in capsys.readouterr().err


def test_numbers_that_no_float_holds_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = re.sub(r'"parameters": \d+', f'"parameters": {10**400}', (run / "complexity/rows.json").read_text())
    (run / "complexity/rows.json").write_text(rows)
    with pytest.raises(SystemExit) as ended:
        main([str(run)])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {run / 'complexity/rows.json'}: rows[0]: 'parameters' is 1000")
    assert "more than 64 bits; give a smaller one" in error


def test_an_image_without_a_name_in_the_archive_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (run / "browse/images.jsonl").read_text().splitlines()]
    changed = [line | {"overlay": "", "image": None} for line in lines]
    (run / "browse/images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    with pytest.raises(SystemExit) as ended:
        main([str(run)])
    assert ended.value.code == 2
    assert f"error: {run / 'browse/files.zip'}: the file name '/image.jpg'" in capsys.readouterr().err


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "evaluate/metrics.json": lambda data: data.replace(b"0.", b'"0."', 1),
    "evaluate/per_class.json": lambda data: data.replace(b'"tp"', b'"xx"', 1),
    "evaluate/per_image.json": lambda data: data[:-9],
    "evaluate/error_breakdown.json": lambda data: data.replace(b'"things"', b'"thing"', 1),
    "train/loss.csv": lambda data: data + b"60,12,1\n",
    "train/quality.csv": lambda data: data + b"60,a,,\n",
    "train/model.json": lambda data: b"[]",
    "robustness/variants.json": lambda data: data.replace(b'"fog"', b'"frog"'),
    "complexity/rows.json": lambda data: b"{}",
    "browse/run.json": lambda data: data.replace(b"browse/2", b"browse/1"),
    "browse/images.jsonl": lambda data: data[: len(data) // 2],
    "browse/files.zip": lambda data: data[:-30],
    "passport.json": lambda data: data.replace(b'"machine"', b'"engine"'),
}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r'"outcome": "missed"', '"outcome": "x);color:red"'),
        (r'"category_id": 7', '"category_id": 8'),
        (r'"iou": 0\.\d+', '"iou": "1"'),
        (r'"pq": 0\.\d+', '"pq": "1"'),
        (r'"ground_truth": \[\{', '"ground_truth": [5, {'),
        (r'"overlay": "[^"]*"', '"overlay": 5'),
        (r'"mask": "[^"]*"', '"mask": 5'),
        (r'"image": "[^"]*"', '"image": 5'),
        (r'"width": \d+', '"width": {}'),
        (r'"box_xywh": \[\d+', '"box_xywh": [1.5'),
        (r'"box_xywh": \[\d+', '"box_xywh": [-1'),
        (r'"box_xywh": \[\d+', '"box_xywh": [1000'),
        (r'"box_xywh": \[[^\]]*\]', '"box_xywh": []'),
        (r'"id": \d+', '"id": 4294967296'),
        (r'"file_name": "[^"]*"', r'"file_name": "\\ud800"'),
    ],
)
def test_a_line_of_another_program_is_named(old: str, new: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run / "browse/images.jsonl"
    changed, count = re.subn(old, new, lines.read_text())
    assert count
    lines.write_text(changed)
    with pytest.raises(SystemExit) as ended:
        main([str(run)])
    assert ended.value.code == 2
    assert re.match(rf"error: {lines}: line \d+: not as stages\.browse writes it", capsys.readouterr().err)


def test_a_value_longer_than_any_number_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "train/loss.csv").write_text(f"step,total\n1,{'1' * 200_000}\n")
    with pytest.raises(SystemExit) as ended:
        main([str(run)])
    assert ended.value.code == 2
    assert f"error: {run / 'train/loss.csv'}: is no table" in capsys.readouterr().err


def test_names_that_reorder_text_or_are_not_unicode_are_escaped(run: Path) -> None:
    text = (run / "browse/run.json").read_text()
    (run / "browse/run.json").write_text(text.replace('"ball"', r'"a\u202eb\ud800\n"'))
    main([str(run)])
    page = (run / "report.html").read_text()
    assert r"a\u202eb\ud800\n" in page
    assert "\u202e" not in page


def test_a_size_of_another_shape_is_shown(run: Path) -> None:
    rows = re.sub(r'"size": \[[^\]]*\]', '"size": [7]', (run / "complexity/rows.json").read_text())
    (run / "complexity/rows.json").write_text(rows)
    main([str(run)])


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_and_nothing_is_written(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "report.html").write_text("earlier")
    (run / name).write_bytes(DAMAGES[name]((run / name).read_bytes()))
    with pytest.raises(SystemExit) as ended:
        main([str(run)])
    assert ended.value.code == 2
    assert re.match(rf"error: {re.escape(str(run / name))}\b", capsys.readouterr().err)
    assert (run / "report.html").read_text() == "earlier"


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "nothing")])
    assert ended.value.code == 2
    assert "is no run with scores; score the run with `dvc repro evaluate`" in capsys.readouterr().err


def test_an_image_that_has_changed_or_gone_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (run / "browse/images.jsonl").read_text().splitlines()]
    for path, found in ((run / "no.png", "there is no such file"), (run / "small.png", "is 3 x 2, expected")):
        Image.new("RGB", (3, 2)).save(run / "small.png")
        changed = [line | {"image": str(path)} for line in lines]
        (run / "browse/images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
        with pytest.raises(SystemExit):
            main([str(run)])
        assert f"{path}: {found}" in capsys.readouterr().err


def test_an_image_is_read_as_other_stages_read_it(run: Path) -> None:
    """Turned as EXIF says, and without the end mark that some cameras leave out."""
    lines = [json.loads(line) for line in (run / "browse/images.jsonl").read_text().splitlines()]
    clean = next(line for line in lines if line["image"])
    stored = Image.new("RGB", (clean["height"], clean["width"]))
    exif = stored.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    file = io.BytesIO()
    stored.save(file, "JPEG", exif=exif)
    (run / "turned.jpg").write_bytes(file.getvalue().removesuffix(b"\xff\xd9"))
    changed = [line | {"image": str(run / "turned.jpg")} if line is clean else line for line in lines]
    (run / "browse/images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    files = ImageFiles(Browsed.read(run / "browse"))
    panel = files.example(next(iter(Browsed.read(run / "browse").lines))).panels[0]
    assert (panel.width > panel.height) == (clean["width"] > clean["height"])


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
