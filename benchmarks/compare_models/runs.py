"""Run every row and seed of the comparison through the stages, several in parallel, none twice."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.compare_models.details import read_details
from benchmarks.compare_models.results import SeedResult, TrainingBudget
from benchmarks.compare_models.rows import PAPERS, RowTable
from benchmarks.harness.device import machine_name
from benchmarks.harness.stages import Stages, percentages
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.training.sampling import steps_per_epoch
from model.training.settings import TrainSettings
from panoptic.datasets.layout import DatasetSettings
from panoptic.datasets.shards import AnnotateSettings
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, read_json, write_json
from panoptic.report.paired import CountedRun
from panoptic.robustness.corrupted_split import CorruptSettings
from panoptic.runtime.fingerprint import file_digest, file_signature, fingerprint
from panoptic.runtime.settings import flat_settings
from pipelines.override import experiment_files, override_settings
from stages.settings import load_section

CORRUPTED_IMAGES = 20
"""Validation images that a detailed table corrupts, by every corruption and severity."""
FAILURES = (ValueError, OSError)


@dataclass(frozen=True)
class TrainedWeights:
    """Trained weights, and how they were made."""

    model: Path
    identity: str
    parameters: int
    seconds: float | None  # None where it was interrupted


@dataclass(frozen=True)
class ComparisonRuns:
    """The runs of a comparison: settings that all rows share, their folder, and the steps of each training.

    A row may have a number of steps of its own. `step_seconds` has the CPU seconds of a step of rows, if measured.
    """

    params: Path
    work: Path
    steps: int
    jobs: int = 1
    table: RowTable = PAPERS
    step_seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "jobs"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}; give at least 1")

    @cached_property
    def stages(self) -> Stages:
        """Stages with an equal share of the processor's cores for every job."""
        return Stages(max(1, len(os.sched_getaffinity(0)) // self.jobs))

    @cached_property
    def dataset(self) -> DatasetSettings:
        """The dataset that all rows are trained on."""
        return load_section(self.params, "dataset", DatasetSettings)

    def index(self, role: str) -> Path:
        """Return the path of a split's verified index."""
        return self.work / "annotate" / f"{role}.index"

    def counts(self, row: str, seed: int) -> Path:
        """Return the path of a run's counts by image."""
        return self.folder(row, seed) / "per_image.json"

    def prepare(self, rows: Sequence[str]) -> None:
        """Verify the dataset, once for all rows, and check that their steps are whole epochs of it."""
        note = self.work / "annotate" / "dataset.json"
        if not (self.index("train").exists() and self.index("val").exists() and _holds(note, self._annotated())):
            print(f"verifying {self.dataset.root}")
            self.stages.annotate(self.params, self.work)
        write_json(note, self._annotated())
        for row in rows:
            self._require_whole_epochs(self._steps(row))
        if self.table.detailed:
            self._corrupt(self.settings(rows[0], 0))

    def _annotated(self) -> dict[str, object]:
        """Describe what the indices depend on, and themselves, so that damaged ones are made again."""
        annotate = load_section(self.params, "annotate", AnnotateSettings)
        return {
            **asdict(self.dataset),
            "annotate": fingerprint(chosen(annotate, AnnotateSettings())),
            "files": fingerprint(dict(file_signature(Path(self.dataset.root)))),
            "indices": {role: file_digest(path) for role in ("train", "val") if (path := self.index(role)).exists()},
        }

    def _corrupt(self, params: Path) -> None:
        note, settings = self.work / "annotate" / "corrupted.json", load_section(params, "corrupt", CorruptSettings)
        found: dict[str, object] = {"settings": fingerprint(chosen(settings, CorruptSettings()))}
        if not (self._manifest.exists() and _holds(note, found)):
            self.stages.corrupt(params, self.index("val"), note.parent)
        write_json(note, found)

    @property
    def _manifest(self) -> Path:
        return self.work / "annotate" / "corrupted" / "manifest.json"

    def _require_whole_epochs(self, steps: int) -> None:
        per_epoch = self.steps_per_epoch
        if steps % per_epoch:
            nearest = max(1, round(steps / per_epoch)) * per_epoch
            raise ValueError(
                f"--steps is {steps}, but a training consists of whole epochs of {per_epoch} steps"
                f" ({self.dataset.root} at the batch size of {self.params}); the nearest number is {nearest}"
            )

    def budget(self) -> TrainingBudget:
        """Return what all rows have in common."""
        batch_size = load_section(self.params, "train", TrainSettings).batch_size
        images = len(PanopticIndex.load(self.index("val")).records)
        return TrainingBudget(self.steps, batch_size, images, self.jobs, self.stages.threads, machine_name())

    def run(self, rows: Sequence[str], seeds: Sequence[int]) -> tuple[list[SeedResult], list[str]]:
        """Return the results of all rows and seeds, and a message for each that failed without stopping the others."""
        scored: dict[tuple[str, int], list[str]] = {}
        for seed in seeds:
            for row in rows:
                scored.setdefault((self.table.trained(row), seed), []).append(row)
        results: list[SeedResult] = []
        failures: list[str] = []
        with ThreadPoolExecutor(self.jobs) as executor:
            futures = [executor.submit(self._train_and_score, *task, own) for task, own in scored.items()]
            try:
                for future in as_completed(futures):
                    for outcome in future.result():
                        if isinstance(outcome, SeedResult):
                            results.append(outcome)
                        else:
                            failures.append(outcome)
            except BaseException:
                self.stages.stopped.set()
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        return results, failures

    def _train_and_score(self, trained: str, seed: int, rows: Sequence[str]) -> list[SeedResult | str]:
        """Return the results of all rows that share the weights of `trained`, or what went wrong."""
        try:
            training = self._train(trained, seed)
        except FAILURES as error:
            return [self._report(trained, seed, error)]
        outcomes: list[SeedResult | str] = []
        for row in rows:
            try:
                outcomes.append(self._score(row, seed, training))
            except FAILURES as error:
                outcomes.append(self._report(row, seed, error))
        return outcomes

    def _report(self, row: str, seed: int, error: Exception) -> str:
        name = self.folder(row, seed).name
        print(f"{name}: failed")
        return f"{name}: {error}"

    def _train(self, row: str, seed: int) -> TrainedWeights:
        folder, params = self.folder(row, seed), self.settings(row, seed)
        finished, model = folder / "training.json", folder / "model.safetensors"
        identity = self.identity(params)
        if read_note(finished).values.get("identity") != identity or not model.exists():
            print(f"{folder.name}: training")
            resumed = self.stages.train(params, self.work / "annotate", folder)
            metrics = read_json(folder / "train" / "metrics.json").values
            seconds = None if resumed else metrics["seconds_since_last_start"]
            write_json(finished, {"identity": identity, "parameters": metrics["parameters"], "seconds": seconds})
        known = read_json(finished)
        return TrainedWeights(model, identity, known.integer("parameters"), known.optional_number("seconds"))

    def _score(self, row: str, seed: int, training: TrainedWeights) -> SeedResult:
        folder, params = self.folder(row, seed), self.settings(row, seed)
        finished = folder / "result.json"
        predict = load_section(params, "predict", InferenceSettings)
        note: dict[str, object] = {
            "identity": fingerprint({"training": training.identity, "predict": chosen(predict, InferenceSettings())}),
            **({"corrupted": file_digest(self._manifest)} if self.table.detailed else {}),
        }
        details = self._scored(row, seed, note)
        if details is None:
            finished.unlink(missing_ok=True)  # it is not the result of files that are written from here on
            pq_found = self._measure(params, training.model, folder)
            write_json(finished, {**note, "pq": pq_found})
            details = read_details(folder, self.table.detailed)
            assert details is not None
        pq = percentages(read_json(finished).child("pq"))
        print(f"{folder.name}: PQ {pq['all']:.1f}, things {pq['things']:.1f}, stuff {pq['stuff']:.1f}")
        seconds = None if self.table.rows[row].weights_of else training.seconds
        return SeedResult(row, seed, pq, training.parameters, seconds, details, self._steps(self.table.trained(row)))

    def _scored(self, row: str, seed: int, note: Mapping[str, object]) -> dict[str, float] | None:
        """Return the details of a result for which `note` holds; None if there is none, or a file of it is damaged."""
        folder = self.folder(row, seed)
        known = read_note(folder / "result.json").values
        if "identity" not in known or any(known.get(name, value) != value for name, value in note.items()):
            return None
        try:
            CountedRun.read(self.counts(row, seed))
            return read_details(folder, self.table.detailed)
        except DatasetError:
            return None

    def _measure(self, params: Path, model: Path, folder: Path) -> object:
        """Score the validation images, where the table is detailed also under corruption, and return their PQ."""
        index, annotated = self.index("val"), self.work / "annotate"
        metrics = self.stages.score(params, index, model, folder, annotated / "instances_val.json")
        if self.table.detailed:
            self.stages.robustness(params, index, model, annotated / "corrupted", folder)
        return metrics.values["pq"]

    def settings(self, row: str, seed: int) -> Path:
        """Write the row's params.yaml, and return its path."""
        folder = self.folder(row, seed)
        folder.mkdir(parents=True, exist_ok=True)
        steps, model = self._steps(row), self.table.rows[row]
        train = {"seed": seed, "epochs": steps // self.steps_per_epoch, "validate_every": steps}
        own, common = folder / "own.yaml", folder / "common.yaml"
        write_json(own, model.settings)
        predict = {"merging": {"score_threshold": model.score_threshold}}
        detailed = {"corrupt": {"images": CORRUPTED_IMAGES, "archives": False}} if self.table.detailed else {}
        write_json(common, {"train": train, "predict": predict, **detailed})
        recipe = experiment_files([model.override] if model.override else [])
        override_settings(self.params, [*recipe, own, common], folder / "params.yaml")
        if load_section(folder / "params.yaml", "dataset", DatasetSettings) != self.dataset:
            raise ValueError(f"{row} changes the dataset, but all rows share that of {self.params}; change it there")
        return folder / "params.yaml"

    def _steps(self, row: str) -> int:
        return self.table.rows[row].steps or self.steps

    def identity(self, params: Path) -> str:
        """Fingerprint everything that determines the weights, except the code."""
        model = load_section(params, "model", NetworkConfig)
        train = load_section(params, "train", TrainSettings)
        settings = {"model": chosen(model, NetworkConfig()), "train": chosen(train, TrainSettings())}
        indices = [file_digest(self.index(role)) for role in ("train", "val")]
        return fingerprint({"settings": settings, "indices": indices})

    def folder(self, row: str, seed: int) -> Path:
        """Return the folder of a run."""
        return self.work / f"{row}-{seed}"

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch of the training images."""
        batch_size = load_section(self.params, "train", TrainSettings).batch_size
        return steps_per_epoch(len(PanopticIndex.load(self.index("train")).records), batch_size)


def chosen(settings: object, usual: object) -> dict[str, object]:
    """Return the settings that differ from the usual ones: finished runs outlive an option that is added."""
    defaults = dict(flat_settings(usual))
    return {name: value for name, value in flat_settings(settings) if defaults.get(name) != value}


def read_note(path: Path) -> JsonObject:
    """Read a JSON file that an earlier comparison left; empty if it is not there, or damaged."""
    try:
        return read_json(path)
    except DatasetError:
        return JsonObject({}, str(path))


def _holds(note: Path, now: Mapping[str, object]) -> bool:
    """Tell whether all that a note says is still so; that of an earlier version says less."""
    return all(now.get(name) == value for name, value in read_note(note).values.items())
