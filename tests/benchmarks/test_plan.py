"""Plans: what follows from the settings is exact, what is measured is measured, and wrong settings are refused."""

import json
from pathlib import Path

import pytest

from benchmarks.plan import __main__ as plan
from benchmarks.plan.report import Row, table
from panoptic.datasets.known import DATASETS

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"
Plan = dict[str, dict[str, dict[str, float | str]]]


def _plan(tmp_path: Path, *arguments: str, steps: int = 0) -> Plan:
    out = tmp_path / "plan.json"
    common = ("--params", str(PARAMS), "--annotated", str(tmp_path), "--measure-steps", str(steps), "--json", str(out))
    plan.main([*arguments, *common])
    document: Plan = json.loads(out.read_text())
    return document


def test_a_published_recipe_is_planned_without_its_data(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    recipe = str(ROOT / "experiments" / "coco_r50_12e.yaml")
    found = _plan(tmp_path, recipe, "--gpus", "8", "--set", f"dataset.root={root}")
    work = {name: row["value"] for name, row in found["work"].items()}
    assert (work["images to learn from"], work["images to validate on"], work["classes"]) == (118_287, 5_000, 133)
    assert (work["steps"], work["validations"]) == (12 * 14_786, 12)
    assert work["corrupted images"] == 2_000 * 16 * 5
    needed = DATASETS["coco"].needed(["train2017", "val2017"])
    assert found["disk"]["archives to fetch"]["value"] == sum(archive.bytes for archive in needed)
    assert found["disk"].keys() >= {"unpacked", "runs/annotate", "runs/state", "in all", "free"}
    assert "time" not in found

    root.mkdir()
    (root / "val2017.zip").touch()
    there = next(archive for archive in needed if archive.path == "val2017.zip")
    again = _plan(tmp_path, recipe, "--gpus", "8", "--set", f"dataset.root={root}")
    fetched = again["disk"]["archives to fetch"]["value"]
    assert fetched == sum(archive.bytes for archive in needed) - there.bytes


def test_a_run_is_measured_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = _plan(tmp_path, "--set", "train.epochs=3", "predict.batch_size=1", steps=1)
    time = {name: float(row["value"]) for name, row in found["time"].items()}
    assert found["work"]["steps"]["value"] == 1200
    assert time["training"] == pytest.approx(1200 * time["a step"])
    assert time["a step"] >= 0.9 * time["a typical forward and backward pass"] > 0
    assert all(seconds > 0 for seconds in time.values())
    sum_of = ("training", "validations", "predict", "evaluate", "robustness")
    assert time["in all"] == pytest.approx(sum(time[name] for name in sum_of))
    assert 0 < float(found["memory"]["training"]["value"]) < float(found["memory"]["there is"]["value"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpus", "3"), "batch_size"),
        (("--gpus", "0"), "0 processes; give at least 1"),
        (("--set", "train.epoch=3"), "train.epoch: unknown key (did you mean 'epochs'?)"),
        (
            ("--set", "dataset.name=coco", "dataset.train=train", "dataset.val=val"),
            "no split 'train', 'val'; there are: train2017",
        ),
        (("missing.yaml",), "missing.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_run_is_not_planned(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        _plan(tmp_path, *arguments)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


def test_numbers_have_units() -> None:
    rows = [
        Row("a", "many", 118_287, "count"),
        Row("a", "large", 21.4e9, "bytes", "why"),
        Row("b", "long", 5400, "seconds"),
        Row("b", "short", 0.0123, "seconds"),
    ]
    lines = ["a", "  many    118 287", "  large   21.4 GB   why", "b", "  long   90.0 min", "  short   12.3 ms"]
    assert table(rows).splitlines() == lines
