"""The folder of a complete run on a few tiny images, made by the stages but for training and robustness."""

import json
from pathlib import Path

from panoptic.io.json_fields import write_json
from panoptic.passport.document import seal, write_passport
from panoptic.passport.results import ResultFiles, seal_results
from panoptic.passport.training import described_files, passport_path
from panoptic.robustness.corruptions import Variant
from panoptic.robustness.summary import Measures, Robustness, variants_to_json
from stages import browse, evaluate
from tests.stages.browse_files import TABLE, write_browse_inputs, write_predictions
from tests.tiny_dataset import random_images, write_split

ROBUSTNESS = {("contrast", 2): 0.5, ("contrast", 5): 0.25, ("fog", 2): 0.75, ("fog", 5): None}
CLEAN_PQ = 0.8


def write_run(root: Path) -> Path:
    """Write a run below `root` and return its folder: six images, things have the class of the other."""
    write_browse_inputs(root)
    (root / "params.yaml").write_text("browse: {}\nevaluate: {bootstrap: 20}\ndataset: {name: tiny}\n")
    run, predictions = root / "runs", root / "predict"
    score_run(root)
    write_json(run / "robustness/variants.json", variants_to_json(robustness()))
    _write_training(run / "train")
    write_json(
        run / "complexity/rows.json", [_complexity_row("configured", 1_500_000), _complexity_row("r50", 5 * 10**7)]
    )
    write_json(predictions / "timings.json", {"images": 6, "seconds": 1.0, "device": "cpu"})
    files_of_results = ResultFiles(predictions, run / "evaluate", run / "robustness", root / "missing.json")
    passport = seal_results(
        root / "params.yaml", run / "train/model.safetensors", files_of_results, run / "passport.json"
    )
    write_passport(run / "passport.json", passport)
    return run


def write_perfect_run(root: Path) -> Path:
    """Write a run that predicts the ground truth, without a passport."""
    run = write_run(root)
    split = write_split(root / "again", "val", random_images(3, 6))
    write_predictions(split, root / "predict", shift=0)
    score_run(root)
    (run / "passport.json").unlink()
    return run


def write_runs(root: Path) -> list[Path]:
    """Write a run, and a perfect one of the same images, into folders of their own."""
    folders = [root / "first", root / "second"]
    for folder in folders:
        folder.mkdir()
    return [write_run(folders[0]), write_perfect_run(folders[1])]


def score_run(root: Path) -> None:
    """Score the predictions of a run, and record the outcomes of their segments."""
    run, predictions, params = root / "runs", root / "predict", ["--params", str(root / "params.yaml")]
    scores = {name.replace("_", "-"): run / f"evaluate/{name}.json" for name in _SCORES}
    evaluate.main(
        [
            *params,
            *("--ground-truth-index", str(root / "val.index")),
            *("--predictions-json", str(predictions / "panoptic.json")),
            *("--predictions-folder", str(predictions / "panoptic")),
            *(text for name, path in scores.items() for text in (f"--{name}", str(path))),
        ]
    )
    corrupted = ["--corrupted", str(root / "corrupt"), "--corrupted-predictions", str(root / "robustness")]
    files = ["--index", str(root / "val.index"), "--predictions", str(predictions), "--out", str(run / "browse")]
    browse.main([*params, *files, *corrupted])


def robustness() -> Robustness:
    return Robustness(_qualities(CLEAN_PQ), {Variant(*key): _qualities(value) for key, value in ROBUSTNESS.items()})


_SCORES = ("metrics", "per_class", "per_image", "error_breakdown")


def _qualities(value: float | None) -> Measures:
    return {"pq": {"all": value, "things": value, "stuff": None}}


def _write_training(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "loss.csv").write_text("step,total\n20,18.5\n40,12.5\n")
    (folder / "quality.csv").write_text("step,all,things,stuff\n20,31,0,62\n40,32,,\n")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "model.json").write_text(json.dumps({"categories": TABLE.to_json()}))
    sections = {
        "files": described_files({"weights": folder / "model.safetensors"}, folder),
        "data": {},
        "splits": {"train": {"images": 12}, "val": {"images": 6}, "shared_images": 0},
        "code": {},
        "machine": {"python": "3.11", "device": "cpu", "processes": 1, "processor": "some <processor>"},
        "settings": {"dataset.name": "tiny", "evaluate.bootstrap": 1000},
        "training": {"steps": 40, "initial_weights": {"said": "random"}},
        "usage": {"sessions": [{"wall_seconds": 90}, {"wall_seconds": None}]},
    }
    write_passport(passport_path(folder / "model.safetensors"), seal("weights", sections))


def _complexity_row(name: str, parameters: int) -> dict[str, object]:
    measured = {"width": 160, "height": 128, "device": "cpu", "median_ms": 12.5, "p90_ms": 13, "memory_mib": None}
    row = {"name": name, "title": f"network {name}", "parameters": parameters, "gmacs_full": 16.64, "size": [1200, 800]}
    return {**row, "measurements": [measured] if name == "configured" else []}
