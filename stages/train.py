"""Train a network of the family `model.family` on an index of images.

    python -m stages.train --params params.yaml
        --train-index runs/annotate/train.index --val-index runs/annotate/val.index
        --pretrained pretrained --state runs/state --model runs/train/model.safetensors --curves runs/train

`train.initial_weights` selects the initial weights. ImageNet weights are read from the folder `--pretrained`, as
`<backbone>.safetensors`, `.pth` or `.bin`, or downloaded from the Hugging Face hub. Weights of a whole network, or the
state of an unfinished run, may have other classes than the images: heads follow their classes.
An interrupted run, even a killed one, resumes from the last saved state when the command is repeated. States are kept
in a folder named after everything that decides the result, so a run with other settings, data or code starts afresh.
During training `loss.csv` and `quality.csv` grow in the curves folder, and the chosen `loggers` show them elsewhere.
Quality is measured by the `evaluate` stage in a process of its own, so that a change to a metric never makes trained
weights out of date.
With `cluster.launcher` torchrun or slurm the command starts itself in several processes, which divide every step, and
exits as they exit; `torchrun --nproc-per-node N -m stages.train ...` does the same by hand. On SIGTERM or SIGUSR1 a
run saves its state after the current step and exits with status 75; on Ctrl-C with 130, and a second Ctrl-C does not
wait for the step. A killed one loses the steps since its last state, and so does one that fails.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import torch

from cluster.settings import ClusterSettings
from model.inference.predict import predict_images
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings, require_mask_layer
from model.network.config import NetworkConfig
from model.network.families import has_backbone, require_known
from model.network.segmenter import Segmenter
from model.training.distributed.processes import Processes, joined_processes
from model.training.distributed.stopping import StoppedError, shielded, stop_requests
from model.training.failures import explained_failures, statuses_for_agent
from model.training.loggers import LoggerSettings, followed_by_loggers
from model.training.loop import TrainingRun, train
from model.training.overview import data_warnings, describe_run, require_segments
from model.training.passport_notes import TrainingFiles, begin_passport, finish_passport
from model.training.sampling import Accumulation
from model.training.settings import TrainSettings
from model.training.starting import starting_network
from model.weights.checkpoint import Checkpoint, save_checkpoint
from model.weights.description import Description, metadata_path, save_description
from model.weights.loading.initial import IMAGENET, RANDOM, find_initial_weights
from panoptic.format.results import write_results
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import write_json
from panoptic.io.reading import read_file
from panoptic.io.working_folder import working_folder
from panoptic.runtime.cli import ending_with_this, run_command
from panoptic.runtime.fingerprint import imported_code
from panoptic.runtime.resume import ResumeIdentity, close_work, open_work, resume_identity, work_folder
from panoptic.runtime.settings import SettingsError
from stages.settings import load_section


@dataclass(frozen=True)
class TrainPaths:
    """Inputs and outputs of the stage."""

    train_index: Path
    val_index: Path
    pretrained: Path
    state: Path
    model: Path
    curves: Path


@dataclass(frozen=True)
class TrainRecipe:
    """All settings of the stage; only the first two decide the weights."""

    train: TrainSettings
    network: NetworkConfig
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    loggers: LoggerSettings = field(default_factory=LoggerSettings)

    def __post_init__(self) -> None:
        """Reject sections that do not fit together, before any process or job is started."""
        require_known(self.network)
        if self.train.initial_weights == IMAGENET and not has_backbone(self.network):
            raise ValueError(
                f"train.initial_weights is {IMAGENET!r}, but there are none for model.family {self.network.family!r}, "
                f"which has no backbone; give {RANDOM!r}, or a file with weights of this family"
            )
        require_mask_layer(self.inference, self.network)
        if self.inference.mask_layer and not self.train.deep_supervision:
            raise ValueError(
                f"predict.mask_layer is {self.inference.mask_layer}, but train.deep_supervision is false, so that only "
                "the final masks and classes are trained; set predict.mask_layer to 0"
            )
        processes = self.cluster.nodes * self.cluster.processes_per_node
        Accumulation(self.train.batch_size, self.train.images_per_forward, world_size=processes)


def load_recipe(params: Path) -> TrainRecipe:
    """Read all settings of the stage. Raises `SettingsError` for one that is wrong, or for some that do not fit."""
    sections = (
        load_section(params, "train", TrainSettings),
        load_section(params, "model", NetworkConfig),
        load_section(params, "predict", InferenceSettings),
        load_section(params, "cluster", ClusterSettings, required=False),
        load_section(params, "loggers", LoggerSettings, required=False),
    )
    try:
        return TrainRecipe(*sections)
    except ValueError as error:
        raise SettingsError(f"{params}: {error}") from None


def run(recipe: TrainRecipe, paths: TrainPaths, params: Path) -> None:
    """Train to the end, and write the network and how it was made; `params` is the file of the recipe."""
    settings, config, inference = recipe.train, recipe.network, recipe.inference
    index, val_index = PanopticIndex.load(paths.train_index), PanopticIndex.load(paths.val_index)
    index.categories.require_same(val_index.categories, str(paths.val_index), str(paths.train_index))
    require_segments(index, str(paths.train_index))
    step_wait = timedelta(minutes=recipe.cluster.timeout_minutes)
    with joined_processes(step_wait) as processes, stop_requests() as stop_requested:
        started = time.monotonic()
        initial = _initial_weights(recipe, paths, processes)
        identity = _identity(recipe, paths, index, initial)
        network, start = starting_network(config, settings, index.categories, initial)
        training = TrainingRun(
            network=network,
            index=index,
            settings=settings,
            state_file=work_folder(paths.state, "train", identity) / "state.pt",
            curves=paths.curves,
            processes=processes,
            validate=lambda network: measure_quality(network, val_index, inference, paths),
            stop_requested=stop_requested,
            sharding=recipe.cluster.sharding,
        )
        if processes.is_main:
            indices = {str(paths.train_index): index, str(paths.val_index): val_index}
            print(*describe_run(training), *data_warnings(config, indices), sep="\n", flush=True)
            open_work(paths.state, "train", identity)
            if not training.state_file.exists():  # else the loop names it, and its step
                print(f"initial weights: {start}", flush=True)
            # With it, an unfinished run can be the start of another one, which may have other classes.
            save_description(training.state_file, Description(config, index.categories, {"initial_weights": start}))
            begin_passport(training)
        loggers = recipe.loggers if processes.is_main else LoggerSettings()
        with (
            followed_by_loggers(loggers, paths.curves, training.state_file.parent.name, identity.settings),
            explained_failures(training.state_file),
        ):
            result = train(training)
        if processes.is_main:
            provenance = _provenance(identity.name, training, processes) | {"initial_weights": start}
            checkpoint = Checkpoint(config, index.categories, provenance, result, inference=inference)
            save_checkpoint(paths.model, checkpoint)
            _write_metrics(paths, training, time.monotonic() - started)
            finish_passport(
                training, TrainingFiles(params, paths.train_index, paths.val_index, paths.model, initial), start
            )
            # The state is no longer needed, and `dvc repro --force` has to train again.
            close_work(training.state_file.parent)


def _initial_weights(recipe: TrainRecipe, paths: TrainPaths, processes: Processes) -> Path | None:
    """Find the file to start from, in the main process first: it may have to download it to where all read it."""
    initial: Path | None = None
    for is_main in (True, False):
        if processes.is_main is is_main:
            initial = find_initial_weights(recipe.train.initial_weights, recipe.network.backbone, paths.pretrained)
        processes.wait_for_main()
    return initial


def _identity(recipe: TrainRecipe, paths: TrainPaths, index: PanopticIndex, initial: Path | None) -> ResumeIdentity:
    """Everything that decides weights and curves; the number of processes does only by rounding."""
    return resume_identity(
        settings={"train": recipe.train, "model": recipe.network},
        files={
            "training index": paths.train_index,
            "validation index": paths.val_index,
            "initial weights": initial,
            "classes of the initial weights": _description_of(initial),
        },
        data={"training images": index.images, "training masks": index.masks},
        code=imported_code("model/ops"),
    )


def _description_of(initial: Path | None) -> Path | None:
    """Find the file that names the classes of the initial weights, and so decides which heads are kept."""
    return metadata_path(initial) if initial and metadata_path(initial).is_file() else None


def measure_quality(
    network: Segmenter, index: PanopticIndex, settings: InferenceSettings, paths: TrainPaths
) -> dict[str, float]:
    """Measure the PQ of `network` in percent on the validation split: all, things, stuff; nan if no class occurs."""
    with working_folder() as folder:
        results, metrics = folder / "results.json", folder / "metrics.json"
        with write_results(results, folder / "masks", index.categories) as writer:
            for prediction in predict_images(Predictor(network, settings), index):
                record = prediction.record
                writer.add(record.image_id, record.mask_name, prediction.ids, prediction.segments)
        command = [sys.executable, "-m", "stages.evaluate", "--metrics", str(metrics)]
        command += ["--ground-truth-index", str(paths.val_index)]
        command += ["--predictions-json", str(results), "--predictions-folder", str(folder / "masks")]
        with shielded():
            evaluation = subprocess.run(command, capture_output=True, text=True, env=ending_with_this())
        if evaluation.returncode:
            how = "was killed" if evaluation.returncode < 0 else f"ended with status {evaluation.returncode}"
            said = evaluation.stderr.strip() or f"stages.evaluate {how} without a word, perhaps for lack of memory"
            raise ValueError(f"the network could not be validated: {said}")
        quality = json.loads(read_file(metrics))["pq"]
    return {name: float("nan") if value is None else 100 * value for name, value in quality.items()}


def _provenance(identity: str, training: TrainingRun, processes: Processes) -> dict[str, str]:
    return {
        "fingerprint": identity,
        "settings": json.dumps(asdict(training.settings)),
        "steps": str(training.steps),
        "images": str(len(training.index.records)),
        "processes": str(processes.world_size),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _write_metrics(paths: TrainPaths, training: TrainingRun, seconds: float) -> None:
    network = training.network
    metrics = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trainable_parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "steps": training.steps,
        "seconds_since_last_start": round(seconds, 1),
    }
    write_json(paths.curves / "metrics.json", metrics)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings; sections 'train', 'model', 'predict'"
    )
    parser.add_argument("--train-index", type=Path, required=True, help="index of the images to train on")
    parser.add_argument("--val-index", type=Path, required=True, help="index of the images to validate on")
    parser.add_argument(
        "--pretrained", type=Path, default=Path("pretrained"), help="folder that may contain ImageNet weights"
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for the states of unfinished runs")
    parser.add_argument("--model", type=Path, required=True, help="safetensors file to write, beside a JSON file")
    parser.add_argument("--curves", type=Path, required=True, help="folder for loss.csv, quality.csv, metrics.json")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = vars(parser.parse_args(words))
    params: Path = arguments.pop("params")
    paths = TrainPaths(**arguments)

    def stage() -> None:
        recipe = load_recipe(params)
        if recipe.cluster.launcher != "local" and "WORLD_SIZE" not in os.environ:
            _start_processes(recipe.cluster, params, paths.state / "jobs", words)
        try:
            with statuses_for_agent():
                run(recipe, paths, params)
        except StoppedError as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(stopped.status)

    run_command(stage)


def _start_processes(cluster: ClusterSettings, params: Path, jobs: Path, arguments: list[str]) -> NoReturn:
    """Replace this process with the command that starts it in several.

    That command is a program of its own, so that a change to how jobs start never makes trained weights out of date.
    """
    start = [sys.executable, "-m", "cluster", json.dumps(asdict(cluster)), str(params), str(jobs)]
    sys.stdout.flush()
    os.execv(sys.executable, [*start, "stages.train", *arguments])


if __name__ == "__main__":
    main()
