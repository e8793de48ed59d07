"""Score panoptic results against ground truth: PQ and boundary PQ by the rules of their benchmarks, mIoU, AP.

    python -m stages.evaluate --ground-truth-json GT.json --ground-truth-folder GT/
        --predictions-json PRED.json --predictions-folder PRED/ --metrics OUT.json
        [--instances-ground-truth GT_INSTANCES.json --instances-predictions PRED_INSTANCES.json]

Reads files only, so it scores the results of any system. A folder may also be a zip file. Written numbers are
fractions of 1 at full precision (null for a group without classes); the printed table is in percent.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic.average_precision import average_precision
from panoptic.bootstrap import bootstrap_intervals
from panoptic.categories import CategoryTable
from panoptic.commands import run_command
from panoptic.errors import DatasetError, shown_ids
from panoptic.files import write_atomically
from panoptic.instance_results import read_instance_results
from panoptic.score_tables import Precisions, format_table, metrics_to_json, per_class_to_json, per_image_to_json
from panoptic.scoring import ScoringSettings
from panoptic.scoring_files import FileScores, PanopticFiles, score_results
from stages.settings import load_section


@dataclass(frozen=True)
class EvaluationSettings:
    """The `evaluate` section of params.yaml.

    `boundary_ratio`: width of the boundary band as a share of the diagonal, 0 for no boundary PQ. `max_dets`: instances
    of a picture and class that count for AP. `bootstrap`: draws for the intervals, 0 for none. `workers`: processes
    beside this one.
    """

    boundary_ratio: float = 0.02
    max_dets: int = 100
    bootstrap: int = 1000
    seed: int = 0
    workers: int = 0


@dataclass(frozen=True)
class Inputs:
    """What is scored; instances are optional, and scored if both files are given."""

    truth: PanopticFiles
    prediction: PanopticFiles
    true_instances: Path | None = None
    predicted_instances: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """Files to write; None for what is not wanted."""

    metrics: Path
    per_class: Path | None = None
    per_image: Path | None = None


def evaluate(
    inputs: Inputs,
    outputs: Outputs,
    settings: EvaluationSettings,
    panopticapi: bool = False,
    missing_as_empty: bool = False,
) -> None:
    """Score the results and write what is asked for, all of it or nothing."""
    scoring = ScoringSettings(settings.boundary_ratio, panopticapi)
    found = score_results(inputs.truth, inputs.prediction, scoring, missing_as_empty, settings.workers, progress=True)
    _warn(inputs, found)
    scores, per_image = found.scores, found.per_image
    precisions = _precisions(inputs, scores.categories, settings.max_dets)
    boundaries = scores.boundary_quality is not None
    intervals = (
        bootstrap_intervals(
            list(per_image.values()), scores.categories, settings.bootstrap, settings.seed, boundaries=boundaries
        )
        if settings.bootstrap
        else {}
    )
    _write_json(outputs.metrics, metrics_to_json(scores, precisions, intervals))
    if outputs.per_class is not None:
        _write_json(outputs.per_class, per_class_to_json(scores, precisions))
    if outputs.per_image is not None:
        _write_json(outputs.per_image, per_image_to_json(per_image, boundaries))
    print(format_table(scores, precisions, intervals, len(per_image)))


def _precisions(inputs: Inputs, categories: CategoryTable, max_dets: int) -> Precisions:
    if inputs.true_instances is None or inputs.predicted_instances is None:
        return {}
    results = read_instance_results(inputs.predicted_instances, categories)
    return average_precision(inputs.true_instances, results, categories, max_dets)


def _warn(inputs: Inputs, found: FileScores) -> None:
    notes = {
        inputs.prediction.panoptic_json: (
            (found.ignored, "results are for pictures that are not in the ground truth", "ignored"),
            (found.empty, "pictures have no result", "all their segments count as missed"),
        ),
        inputs.truth.panoptic_json: (
            (found.wrong_areas, "pictures have segments whose 'area' is not that of their pixels", "pixels count"),
        ),
    }
    for path, kinds in notes.items():
        for ids, what, done in kinds:
            if ids:
                print(f"warning: {path}: {len(ids)} {what} (image ids {shown_ids(ids)}); {done}", file=sys.stderr)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.splitlines()[0])
    for flag, purpose in {
        "--ground-truth-json": "panoptic JSON of the ground truth",
        "--ground-truth-folder": "its PNGs: a folder or a zip file",
        "--predictions-json": "panoptic JSON of the results",
        "--predictions-folder": "their PNGs: a folder or a zip file",
        "--metrics": "JSON file to write the averages to",
    }.items():
        parser.add_argument(flag, type=Path, required=True, help=purpose)
    for flag, purpose in {
        "--per-class": "JSON file to write counts and qualities per class to",
        "--per-image": "JSON file to write counts per picture to",
        "--instances-ground-truth": "JSON in COCO's detection format, for AP",
        "--instances-predictions": "JSON in COCO's results format, for AP",
        "--params": "settings; section 'evaluate' is read, and the options below override it",
    }.items():
        parser.add_argument(flag, type=Path, help=purpose)
    defaults = EvaluationSettings()
    parser.add_argument(
        "--boundary-ratio",
        type=float,
        help=f"band of boundary PQ, as a share of the diagonal; 0: none (default: {defaults.boundary_ratio})",
    )
    for flag, purpose in {
        "--max-dets": "instances of a picture and class that count for AP",
        "--bootstrap": "draws for confidence intervals; 0: none",
        "--seed": "of the draws",
        "--workers": "processes beside this one",
    }.items():
        default = getattr(defaults, flag[2:].replace("-", "_"))
        parser.add_argument(flag, type=int, help=f"{purpose} (default: {default})")
    parser.add_argument(
        "--panopticapi-area",
        action="store_true",
        help="count as panopticapi does: a true segment's area is the JSON's, and one crowd region of a class forgives",
    )
    parser.add_argument(
        "--missing-as-empty", action="store_true", help="a picture without result has all its segments missed"
    )
    return parser


def _settings(arguments: argparse.Namespace) -> EvaluationSettings:
    """The settings file, if one is given, overridden by the options that are given."""
    settings = (
        load_section(arguments.params, "evaluate", EvaluationSettings) if arguments.params else EvaluationSettings()
    )
    options = {name: getattr(arguments, name) for name in EvaluationSettings.__dataclass_fields__}
    return replace(settings, **{name: value for name, value in options.items() if value is not None})


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = _parser().parse_args(argv)
    inputs = Inputs(
        PanopticFiles(arguments.ground_truth_json, arguments.ground_truth_folder),
        PanopticFiles(arguments.predictions_json, arguments.predictions_folder),
        arguments.instances_ground_truth,
        arguments.instances_predictions,
    )
    outputs = Outputs(arguments.metrics, arguments.per_class, arguments.per_image)

    def stage() -> None:
        if (inputs.true_instances is None) != (inputs.predicted_instances is None):
            raise DatasetError("AP needs both --instances-ground-truth and --instances-predictions; give both or none")
        evaluate(inputs, outputs, _settings(arguments), arguments.panopticapi_area, arguments.missing_as_empty)

    run_command(stage)


if __name__ == "__main__":
    main()
