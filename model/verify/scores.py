"""Checks that repeat the evaluation: all scores from the predictions, and some predictions from the weights."""

import csv
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from model.device import pick_device
from model.inference.predict import InferenceSettings, predict_images, same_size_batches
from model.verify.check import FAILED, NOT_MADE, OK, Check, Run, compare_json, first, settings_file, settings_of
from model.weights.checkpoint import load_checkpoint
from panoptic.format.annotations import read_annotations
from panoptic.format.id_map import decode_id_map
from panoptic.index import PanopticIndex
from panoptic.index.records import take
from panoptic.io.files import open_files
from panoptic.io.json_fields import load_json, read_json
from panoptic.runtime.fingerprint import PROJECT

_SCORES = {
    "--metrics": "scores/metrics.json",
    "--summary": "scores/summary.json",
    "--per-class": "scores/per_class.json",
    "--per-image": "scores/per_image.json",
    "--error-breakdown": "scores/error_breakdown.json",
}
"""Files of stages.evaluate by the option that names them."""
EQUAL_PIXELS = 0.95
"""Share of pixels of a prediction that must be equal on a machine of another kind."""
_SAME_QUALITY = 0.05
"""Difference in percent of PQ that is allowed between the last validation of the training and the scores."""
_SAME_SCORE = 1e-9


def check_scores(run: Run) -> Check:
    """Score the stored predictions again with stages.evaluate, and compare every number in its files."""
    needed = {
        "--ground-truth-index": run.data("val index"),
        "--predictions-json": run.result("predictions/panoptic.json"),
        "--predictions-folder": run.result("predictions/panoptic"),
        "--instances-ground-truth": run.result("instances ground truth"),
        "--instances-predictions": run.result("predictions/instances.json"),
    }
    given = {option: path for option, path in needed.items() if path is not None and path.exists()}
    if missing := [option.removeprefix("--") for option in list(needed)[:3] if option not in given]:
        return Check("scores", NOT_MADE, f"not there: {', '.join(missing)}")
    if len(given) < len(needed):
        given = {option: path for option, path in given.items() if "instances" not in option}
    wrong, compared = list[str](), 0
    assert run.results is not None
    with TemporaryDirectory(prefix="verify-") as folder, settings_file(run.results) as params:
        outs = {option: Path(folder) / Path(name).name for option, name in _SCORES.items()}
        words = [word for option, path in (given | outs).items() for word in (option, str(path))]
        command = [sys.executable, "-m", "stages.evaluate", "--params", str(params), *words]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            return Check("scores", FAILED, f"the predictions cannot be scored: {done.stderr.strip()[-400:]}")
        for option, name in _SCORES.items():
            stored = run.result(name)
            if stored is not None and outs[option].is_file():
                compared += 1
                wrong += compare_json(load_json(outs[option]), load_json(stored), Path(name).name, _SAME_SCORE)
    return Check("scores", FAILED if wrong else OK, first(wrong) or f"{compared} files recomputed from the predictions")


def check_predictions(run: Run, images: int, seed: int) -> Check:
    """Predict a random sample of images again, in the batches that they were in, and compare every pixel."""
    name = f"prediction of {images} images"
    listed, masks, index_path = (
        run.result("predictions/panoptic.json"),
        run.result("predictions/panoptic"),
        run.data("val index"),
    )
    if listed is None or masks is None or not index_path.exists():
        return Check(name, NOT_MADE, "predictions or the validation index are not there")
    assert run.results is not None
    index, settings = PanopticIndex.load(index_path), settings_of(run.results, "predict", InferenceSettings)
    sample = _sample(index, settings, images, seed)
    stored, files = read_annotations(listed, index.categories).by_image, open_files(masks)
    network = load_checkpoint(run.model).network.to(pick_device())
    before, wrong, equal = torch.get_num_threads(), [], []
    torch.set_num_threads(run.weights.section("machine").integer("threads"))
    for batch in sample:
        part = replace(index, records=take(index.records, batch))
        for prediction in predict_images(network, part, settings):
            image_id = prediction.record.image_id
            annotation = stored[image_id]
            ids = decode_id_map(files.read(annotation.file_name), annotation.file_name)
            found = {(segment.id, segment.category_id) for segment in prediction.segments}
            expected = {(segment.id, segment.category_id) for segment in annotation.segments}
            same = np.mean(ids == prediction.ids) if ids.shape == prediction.ids.shape else 0.0
            equal.append(float(same))
            if same < 1 or found != expected:
                wrong.append(f"image id {image_id}: {100 * same:.2f} % of its pixels are equal")
    torch.set_num_threads(before)
    name = f"prediction of {len(equal)} images (--seed {seed})"
    if not wrong:
        return Check(name, OK, "equal in every pixel to those stored")
    if run.machine_differences and np.mean(equal) >= EQUAL_PIXELS:
        where = f"machine of another kind ({first(list(run.machine_differences))})"
        return Check(name, OK, f"{where}; {100 * np.mean(equal):.2f} % of the pixels are equal, 95 % needed")
    return Check(name, FAILED, first(wrong))


def _sample(index: PanopticIndex, settings: InferenceSettings, images: int, seed: int) -> Sequence[list[int]]:
    """Whole batches with at least `images` images: rounding may depend on what else is in a batch."""
    batches = list(same_size_batches(index.records, settings))
    random.Random(seed).shuffle(batches)
    chosen, count = [], 0
    for batch in batches:
        if count >= images:
            break
        chosen.append(batch)
        count += len(batch)
    return chosen


def check_last_validation(run: Run) -> Check:
    """Compare the last row of the quality curve, which the training wrote, with the scores of the same weights."""
    name, metrics, curve = "last validation", run.result("scores/metrics.json"), run.weight_file("quality curve")
    assert run.results is not None
    if metrics is None or curve is None:
        return Check(name, NOT_MADE, "the quality curve or the metrics are not there")
    if settings_of(run.weights, "predict", InferenceSettings) != settings_of(run.results, "predict", InferenceSettings):
        return Check(name, NOT_MADE, "the settings of prediction were changed after the training")
    last = list(csv.DictReader(curve.read_text().splitlines()))[-1]
    quality = read_json(metrics).child("pq").values
    rows = {group: (float(last[group] or "nan"), 100 * _number(quality[group])) for group in quality}
    wrong = [
        f"PQ of {group} is {scored:.4f}, the training measured {trained:.4f}"
        for group, (trained, scored) in rows.items()
        if abs(trained - scored) > _SAME_QUALITY
    ]
    steps = run.weights.section("training").integer("steps")
    wrong += [f"the curve ends at step {last['step']}, expected {steps}"] if int(float(last["step"])) != steps else []
    measured = ", ".join(f"{group} {trained:.2f}" for group, (trained, _) in rows.items())
    return Check(name, FAILED if wrong else OK, first(wrong) or f"the training measured the same PQ: {measured}")


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))
