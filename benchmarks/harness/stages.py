"""Stages of the pipeline as separate programs, each with a log, that end with the benchmark."""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from panoptic.io.json_fields import JsonObject, read_json
from pipelines.process.session import CommandError, OutputLine, run_in_session

RESUMED = "resuming from "  # what stages.train says then


class StageError(ValueError):
    """A stage failed, mostly for what it was given; the message ends with its last output."""


class StoppedError(Exception):
    """The benchmark is being stopped."""


@dataclass(frozen=True)
class Stages:
    """Run stages with a number of threads each; with `shown`, their output goes to standard output too."""

    threads: int
    shown: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)

    def annotate(self, params: Path, folder: Path) -> None:
        """Verify the dataset and write its indices to `folder`/annotate."""
        self._run("annotate", {"params": params, "state": folder / "state", "output": folder / "annotate"}, folder)

    def train(self, params: Path, annotated: Path, folder: Path) -> bool:
        """Train on the indices in `annotated`, to model.safetensors and train/; return whether it resumed."""
        paths = {
            "params": params,
            "train-index": annotated / "train.index",
            "val-index": annotated / "val.index",
            "state": folder / "state",
            "model": folder / "model.safetensors",
            "curves": folder / "train",
        }
        return any(line.startswith(RESUMED) for line in self._run("train", paths, folder))

    def score(self, params: Path, index: Path, model: Path, folder: Path, instances: Path | None = None) -> JsonObject:
        """Predict and score the images of an index, to predict/ and JSON files; return the metrics.

        With `instances`, their ground truth in COCO's format, also AP, and error_breakdown.json.
        """
        predicted, metrics = folder / "predict", folder / "metrics.json"
        self._run("predict", {"params": params, "index": index, "model": model, "out": predicted}, folder)
        paths = {
            "ground-truth-index": index,
            "predictions-json": predicted / "panoptic.json",
            "predictions-folder": predicted / "panoptic",
            "metrics": metrics,
            "per-image": folder / "per_image.json",
        }
        if instances:
            paths["instances-ground-truth"] = instances
            paths["instances-predictions"] = predicted / "instances.json"
            paths["error-breakdown"] = folder / "error_breakdown.json"
        self._run("evaluate", paths, folder)
        return read_json(metrics)

    def corrupt(self, params: Path, index: Path, folder: Path) -> Path:
        """Choose the images and corruptions of COCO-C for `robustness`; return their folder."""
        corrupted = folder / "corrupted"
        self._run("corrupt", {"params": params, "index": index, "state": folder / "state", "out": corrupted}, folder)
        return corrupted

    def robustness(self, params: Path, index: Path, model: Path, corrupted: Path, folder: Path) -> JsonObject:
        """Score corrupted images; return the metrics."""
        paths = {"params": params, "index": index, "model": model, "corrupted": corrupted}
        self._run("robustness", {**paths, "state": folder / "state", "out": folder / "robustness"}, folder)
        return read_json(folder / "robustness" / "metrics.json")

    def _run(self, name: str, options: Mapping[str, Path], folder: Path) -> list[str]:
        """Run a stage and return its output, which also goes to a log in `folder`.

        Raises:
            StageError: it failed; the message ends with its last output.
            StoppedError: `stopped` was set.
        """
        command = [sys.executable, "-m", f"stages.{name}"]
        for option, value in options.items():
            command += [f"--{option}", str(value)]
        lines: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.log").open("w", buffering=1, encoding="utf-8") as log:

            def show(line: OutputLine) -> None:
                if self.stopped.is_set():
                    raise StoppedError
                if self.shown:
                    print(line.text, end="\r" if line.transient else "\n", flush=True)
                if not line.transient:
                    lines.append(line.text)
                    log.write(f"{line.text}\n")

            environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONUNBUFFERED": "1"}
            try:
                run_in_session(command, show, Path(), environment)
            except CommandError as error:
                raise StageError(str(error)) from error
        return lines


def percentages(fractions: JsonObject) -> dict[str, float]:
    """Read all numbers of an object in the JSON of a stage as percentages; nan where there is none."""
    found = {name: fractions.optional_number(name) for name in fractions.values}
    return {name: float("nan") if value is None else 100 * value for name, value in found.items()}
