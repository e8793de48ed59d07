"""Score panoptic results against ground truth: PQ and boundary PQ by the rules of their benchmarks, mIoU, AP.

    python -m stages.evaluate --ground-truth-json GT.json --ground-truth-folder GT/
        --predictions-json PRED.json --predictions-folder PRED/ --metrics OUT.json
        [--instances-ground-truth GT_INSTANCES.json --instances-predictions PRED_INSTANCES.json]

Reads only files, so it scores the results of any system. A folder may also be a zip file. In the pipeline the ground
truth is given as `--ground-truth-index runs/annotate/val.index`. Written numbers are fractions of 1 at full precision
(null for a group without classes); the printed table is in percent. The averages include PQ by the size of segments.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated

from panoptic.evaluation.average_precision import MAX_DETS, InstanceScores, average_precision, check_max_dets
from panoptic.evaluation.bootstrap import Intervals, bootstrap_intervals
from panoptic.evaluation.dataset import (
    FileScores,
    PanopticFiles,
    PanopticGroundTruth,
    describe_areas,
    score_results,
)
from panoptic.evaluation.error_breakdown import error_breakdown_table
from panoptic.evaluation.image import ScoringSettings
from panoptic.evaluation.report import format_table, metrics_to_json, per_class_to_json, per_image_to_json, summary
from panoptic.evaluation.scores import Scores
from panoptic.evaluation.sizes import segments_by_size, with_sizes
from panoptic.format.image_id import require_same_type
from panoptic.instances.results import masks_by_image, read_instance_results
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.runtime.cli import command_parser, run_command
from panoptic.runtime.parallel import count_processes
from panoptic.runtime.ranges import Count, Fraction, Seed, Within, Workers, require_ranges
from stages.settings import load_section

_EXAMPLES = """
panoptic evaluate --ground-truth-json gt.json --ground-truth-folder gt/ \\
    --predictions-json pred.json --predictions-folder pred/ --metrics scores.json
panoptic evaluate --ground-truth-index runs/annotate/val.index --predictions-json runs/predict/panoptic.json \\
    --predictions-folder runs/predict/panoptic --metrics scores.json --per-class classes.json --bootstrap 0
"""


@dataclass(frozen=True)
class EvaluationSettings:
    """The `evaluate` section of params.yaml.

    `boundary_ratio`: width of the boundary band as a fraction of the diagonal, 0 for no boundary PQ. `max_dets`: how
    many instances of an image and class count for AR, the last also for AP. `bootstrap`: resamples for the intervals,
    0 for none. `workers`: processes beside this one, -1 for one per core.
    """

    boundary_ratio: Fraction = 0.02
    max_dets: list[Count] = field(default_factory=lambda: list(MAX_DETS))
    bootstrap: Annotated[int, Within(0, 1_000_000)] = 1000
    seed: Seed = 0
    workers: Workers = 0

    def __post_init__(self) -> None:
        """Refuse settings that would end the program after all images have been scored."""
        require_ranges(self, "evaluate")
        check_max_dets(self.max_dets)


@dataclass(frozen=True)
class Inputs:
    """The files to score. Instances are optional: both files give AP, the predicted ones show what merging lost."""

    ground_truth: PanopticGroundTruth
    prediction: PanopticFiles
    gt_instances: Path | None = None
    predicted_instances: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """The files to write; None for those not wanted."""

    metrics: Path
    summary: Path | None = None
    per_class: Path | None = None
    per_image: Path | None = None
    error_breakdown: Path | None = None
    error_breakdown_table: Path | None = None
    oracle_table: Path | None = None

    @property
    def with_breakdown(self) -> bool:
        return (self.error_breakdown, self.error_breakdown_table, self.oracle_table) != (None, None, None)


@dataclass(frozen=True)
class _Scored:
    """All scores of the results; `with_sizes` has those of `found`, and PQ by the size of segments."""

    found: FileScores
    with_sizes: Scores
    instances: InstanceScores
    intervals: Intervals


def evaluate(
    inputs: Inputs,
    outputs: Outputs,
    settings: EvaluationSettings,
    panopticapi: bool = False,
    missing_as_empty: bool = False,
) -> None:
    """Score the results and write the requested files, all or nothing."""
    _check(inputs, outputs.with_breakdown)
    scoring = ScoringSettings(settings.boundary_ratio, panopticapi, missing_as_empty)
    with write_together() as files:
        files.require(path for path in vars(outputs).values() if path is not None)
        scored = _score(inputs, scoring, settings, outputs.with_breakdown)
        for warning in _warnings(inputs, scored.found, scored.instances, panopticapi):
            print(f"warning: {warning}", file=sys.stderr)
        for path, content in _contents(outputs, scored, with_merging=inputs.predicted_instances is not None):
            if path is not None:
                files.write(path, content())
    found = scored.found
    print(format_table(found.scores, scored.instances.by_iou_type, scored.intervals, len(found.per_image)))


def _score(inputs: Inputs, scoring: ScoringSettings, settings: EvaluationSettings, with_breakdown: bool) -> _Scored:
    results = []
    if inputs.predicted_instances is not None:
        results = read_instance_results(inputs.predicted_instances, inputs.ground_truth.categories)
    if results and with_breakdown:
        ground_truth = inputs.ground_truth
        require_same_type([results[0].image_id], ground_truth.by_image, results[0].where, str(ground_truth.path))
    found = score_results(
        inputs.ground_truth,
        inputs.prediction,
        scoring,
        workers=count_processes(settings.workers),
        progress=True,
        candidates=masks_by_image(results) if with_breakdown else None,
    )
    scores, per_image = found.scores, found.per_image
    ignored = dict.fromkeys(result.image_id for result in results if result.image_id not in per_image)
    instances = InstanceScores({}, tuple(ignored))
    if inputs.gt_instances is not None:
        instances = average_precision(inputs.gt_instances, results, scores.categories, settings.max_dets)
    all_scores = with_sizes(scores, found.by_size)
    intervals: Intervals = {}
    if settings.bootstrap:
        images = [{**counts, **sizes} for counts, sizes in zip(per_image.values(), found.by_size, strict=True)]
        intervals = bootstrap_intervals(
            images, all_scores.metrics, scores.categories, settings.bootstrap, settings.seed
        )
    return _Scored(found, all_scores, instances, intervals)


def _contents(
    outputs: Outputs, scored: _Scored, with_merging: bool
) -> Iterator[tuple[Path | None, Callable[[], bytes]]]:
    """Yield every output, None for one that is not wanted, and what makes its content."""
    scores, by_iou_type = scored.found.scores, scored.instances.by_iou_type
    metrics = metrics_to_json(scored.with_sizes, by_iou_type, scored.intervals)
    metrics["segments_by_size"] = segments_by_size(scored.with_sizes)
    yield outputs.metrics, lambda: encode_json(metrics)
    yield outputs.summary, lambda: encode_json(summary(metrics))
    yield outputs.per_class, lambda: encode_json(per_class_to_json(scores, by_iou_type))
    yield outputs.per_image, lambda: encode_json(per_image_to_json(scores, scored.found.per_image))
    if scored.found.error_breakdown is not None:
        table = error_breakdown_table(scored.found.error_breakdown, scores.categories, with_merging)
        yield outputs.error_breakdown, lambda: encode_json(table.to_json())
        yield outputs.error_breakdown_table, table.pq_loss_csv
        yield outputs.oracle_table, table.oracle_csv


def _check(inputs: Inputs, with_breakdown: bool) -> None:
    """Refuse a file of instances that would not be used."""
    if inputs.gt_instances is not None and inputs.predicted_instances is None:
        raise DatasetError("AP needs --instances-predictions too; give both files of instances")
    if inputs.predicted_instances is not None and inputs.gt_instances is None and not with_breakdown:
        raise DatasetError("AP needs --instances-ground-truth too; give both files of instances")


def _warnings(inputs: Inputs, found: FileScores, instances: InstanceScores, panopticapi: bool) -> Iterator[str]:
    """Warnings for a reader of the numbers; each names the file."""
    ground_truth, prediction = inputs.ground_truth.path, inputs.prediction.panoptic_json
    for path, ids in ((prediction, found.ignored), (inputs.predicted_instances, instances.ignored)):
        if ids:
            where = f"{len(ids)} images that are not in the ground truth (image ids {shown_ids(ids)})"
            yield f"{path}: there are results for {where}; they are ignored"
    if found.empty:
        where = f"{len(found.empty)} images (image ids {shown_ids(found.empty)})"
        yield f"{prediction}: there is no result for {where}; all their segments count as false negatives"
    if found.wrong_areas:
        used = "the JSON is used" if panopticapi else "the pixels are used"
        what = f"the 'area' of {len(found.wrong_areas)} segments differs from the PNG"
        yield f"{ground_truth}: {what} ({describe_areas(found.wrong_areas)}); {used}"


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("evaluate", __doc__, _EXAMPLES)
    ground_truth = parser.add_mutually_exclusive_group(required=True)
    ground_truth.add_argument("--ground-truth-index", type=Path, help="index of the ground truth, from stages.annotate")
    ground_truth.add_argument("--ground-truth-json", type=Path, help="panoptic JSON of the ground truth")
    parser.add_argument("--ground-truth-folder", type=Path, help="its PNGs: a folder or a zip file")
    for flag, purpose in {
        "--predictions-json": "panoptic JSON of the results",
        "--predictions-folder": "their PNGs: a folder or a zip file",
        "--metrics": "JSON file to write the averages to",
    }.items():
        parser.add_argument(flag, type=Path, required=True, help=purpose)
    for flag, purpose in {
        "--summary": "JSON file to write the eight best-known averages to, for `dvc metrics show`",
        "--per-class": "JSON file to write counts and qualities per class to",
        "--per-image": "JSON file to write counts per image to",
        "--error-breakdown": "JSON file to write the error breakdown to: PQ loss by error type, and PQ with oracles",
        "--error-breakdown-table": "CSV file to write the PQ loss by error type to",
        "--oracle-table": "CSV file to write PQ with each oracle to",
        "--instances-ground-truth": "JSON in COCO's detection format, for AP",
        "--instances-predictions": "JSON in COCO's results format, for AP, and for the PQ loss in merging",
        "--params": "settings; section 'evaluate' is read, and the options below override it",
    }.items():
        parser.add_argument(flag, type=Path, help=purpose)
    defaults = EvaluationSettings()
    ratio, max_dets = defaults.boundary_ratio, " ".join(map(str, defaults.max_dets))
    help_ratio = f"band of boundary PQ, as a fraction of the diagonal; 0: none (default: {ratio})"
    parser.add_argument("--boundary-ratio", type=float, help=help_ratio)
    help_max_dets = f"instances of an image and class that count for AR, the last also for AP (default: {max_dets})"
    parser.add_argument("--max-dets", type=int, nargs=3, metavar="N", help=help_max_dets)
    for flag, purpose in {
        "--bootstrap": "resamples for confidence intervals; 0: none",
        "--seed": "of the resampling",
        "--workers": "processes beside this one; -1: one per core",
    }.items():
        parser.add_argument(flag, type=int, help=f"{purpose} (default: {getattr(defaults, flag[2:])})")
    parser.add_argument(
        "--panopticapi-area",
        action="store_true",
        help="count as panopticapi does: ground truth areas from the JSON, and one crowd region per class",
    )
    parser.add_argument(
        "--missing-as-empty",
        action="store_true",
        help="count all segments of an image without a result as false negatives",
    )
    return parser


def _settings(arguments: argparse.Namespace) -> EvaluationSettings:
    """The settings file, if given, overridden by the options given."""
    settings = (
        load_section(arguments.params, "evaluate", EvaluationSettings) if arguments.params else EvaluationSettings()
    )
    options = {name: getattr(arguments, name) for name in EvaluationSettings.__dataclass_fields__}
    return replace(settings, **{name: value for name, value in options.items() if value is not None})


def _ground_truth(arguments: argparse.Namespace) -> PanopticGroundTruth:
    if arguments.ground_truth_index:
        return PanopticGroundTruth.from_index(arguments.ground_truth_index)
    if not arguments.ground_truth_folder:
        raise DatasetError("--ground-truth-json needs --ground-truth-folder too: the PNGs, in a folder or a zip file")
    return PanopticGroundTruth.from_files(PanopticFiles(arguments.ground_truth_json, arguments.ground_truth_folder))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = _parser().parse_args(argv)
    outputs = Outputs(**{field.name: getattr(arguments, field.name) for field in fields(Outputs)})

    def stage() -> None:
        settings = _settings(arguments)
        inputs = Inputs(
            _ground_truth(arguments),
            PanopticFiles(arguments.predictions_json, arguments.predictions_folder),
            arguments.instances_ground_truth,
            arguments.instances_predictions,
        )
        evaluate(inputs, outputs, settings, arguments.panopticapi_area, arguments.missing_as_empty)

    run_command(stage)


if __name__ == "__main__":
    main()
