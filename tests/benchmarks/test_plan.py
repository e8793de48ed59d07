"""Plans: counts follow exactly from the settings, costs are measured, and wrong settings are refused."""

import json
from pathlib import Path

import pytest

from benchmarks.plan import __main__ as plan
from benchmarks.plan.report import PlanRow, plan_table
from panoptic.datasets.known import DATASETS
from tests.tiny_dataset import random_images, write_split

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "params.yaml"
PlanJson = dict[str, dict[str, dict[str, float | str]]]


def _plan(tmp_path: Path, *arguments: str, steps: int = 0) -> PlanJson:
    out = tmp_path / "plan.json"
    common = ("--params", str(PARAMS), "--annotated", str(tmp_path), "--measure-steps", str(steps), "--json", str(out))
    plan.main([*arguments, *common])
    document: PlanJson = json.loads(out.read_text())
    return document


def test_a_published_recipe_is_planned_without_its_data(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    recipe = [str(ROOT / "experiments" / name) for name in ("coco.yaml", "coco/12e.yaml")]
    found = _plan(tmp_path, *recipe, "--gpus", "8", "--set", f"dataset.root={root}")
    work = {name: row["value"] for name, row in found["work"].items()}
    assert (work["training images"], work["validation images"], work["classes"]) == (118_287, 5_000, 133)
    assert (work["steps"], work["validations"]) == (12 * 14_786, 12)
    assert work["corrupted images"] == 2_000 * 16 * 5
    needed = DATASETS["coco"].needed(["train2017", "val2017"])
    assert found["disk"]["archives to download"]["value"] == sum(archive.bytes for archive in needed)
    assert found["disk"].keys() >= {"unpacked", "runs/annotate", "runs/state", "total", "free"}
    assert "time" not in found

    root.mkdir()
    (root / "val2017.zip").touch()
    existing = next(archive for archive in needed if archive.path == "val2017.zip")
    again = _plan(tmp_path, *recipe, "--gpus", "8", "--set", f"dataset.root={root}")
    missing = again["disk"]["archives to download"]["value"]
    assert missing == sum(archive.bytes for archive in needed) - existing.bytes


def test_super_categories_are_planned_as_classes(tmp_path: Path) -> None:
    write_split(tmp_path / "own", "val", random_images(seed=0, count=2))
    listed = tmp_path / "own" / "annotations" / "panoptic_val.json"
    document = json.loads(listed.read_text())
    document["categories"] = [category | {"supercategory": "any"} for category in document["categories"]]
    listed.write_text(json.dumps(document))
    own = ("dataset.name=own", f"dataset.root={tmp_path / 'own'}", "dataset.train=val", "dataset.val=val")
    for categories, how in (("original", "2 things, 2 stuff"), ("supercategory", "1 things, 1 stuff")):
        found = _plan(tmp_path, "--set", *own, f"annotate.categories={categories}")
        assert found["work"]["classes"]["how"] == how
        assert ("panoptic PNGs" in str(found["disk"]["runs/annotate"]["how"])) == (categories == "supercategory")
    published = _plan(tmp_path, str(ROOT / "experiments" / "coco128.yaml"))
    assert published["work"]["training images"]["value"] == 100
    assert published["work"]["classes"]["how"] == "80 things, 53 stuff; super-categories are fewer"


def test_a_dataset_that_is_not_fetched_is_planned_without_its_data(tmp_path: Path) -> None:
    """The recipe's comment says 372 steps an epoch: as many images as Mask2Former's 90 000 steps of 16."""
    recipe = [str(ROOT / "experiments" / name) for name in ("coco.yaml", "cityscapes.yaml")]
    found = _plan(tmp_path, *recipe, "--set", f"dataset.root={tmp_path / 'cityscapes'}")
    work = {name: row["value"] for name, row in found["work"].items()}
    assert (work["training images"], work["validation images"], work["classes"]) == (2_975, 500, 19)
    assert (work["steps"], work["validations"]) == (484 * 372, 25)
    assert abs(484 * 2_975 - 90_000 * 16) < 2_975
    assert "archives to download" not in found["disk"]


@pytest.mark.parametrize("family", ["panoptic_segformer", pytest.param("eomt", marks=pytest.mark.slow)])
def test_a_run_is_measured_on_this_machine(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = (f"model.family={family}", "train.epochs=3", "predict.batch_size=1")
    found = _plan(tmp_path, "--set", *settings, steps=1)
    time = {name: float(row["value"]) for name, row in found["time"].items()}
    assert found["work"]["steps"]["value"] == 1200
    assert time["training"] == pytest.approx(1200 * time["a step"])
    assert time["a step"] >= 0.9 * time["a typical forward and backward pass"] > 0
    assert all(seconds > 0 for seconds in time.values())
    sum_of = ("training", "validations", "predict", "evaluate", "robustness")
    assert time["total"] == pytest.approx(sum(time[name] for name in sum_of))
    assert 0 < float(found["memory"]["training"]["value"]) < float(found["memory"]["available"]["value"])


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
        (("missing.yaml",), "missing.yaml: no such file"),
        (("--set", "train.epochs=0"), "params.yaml: train.epochs is 0; give at least 1"),
        (
            ("experiments/bfloat16.yaml", "--set", "train.epochs=0"),
            "params.yaml with experiments/bfloat16.yaml: train.epochs is 0; give at least 1",
        ),
    ],
)
def test_recipes_that_cannot_run_are_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        _plan(tmp_path, *arguments)
    message = capsys.readouterr().err
    assert said in message
    assert ".partial" not in message, "a folder that is gone"
    assert not (tmp_path / "plan.json").exists()


def test_numbers_have_units() -> None:
    rows = [
        PlanRow("a", "many", 118_287, "count"),
        PlanRow("a", "large", 21.4e9, "bytes", "why"),
        PlanRow("b", "long", 5400, "seconds"),
        PlanRow("b", "short", 0.0123, "seconds"),
    ]
    lines = ["a", "  many    118 287", "  large   21.4 GB   why", "b", "  long   90.0 min", "  short   12.3 ms"]
    assert plan_table(rows).splitlines() == lines
