"""Score panoptic results against ground truth: PQ, SQ and RQ, by the rules of COCO's benchmark.

    python -m stages.evaluate --ground-truth-json GT.json --ground-truth-folder GT/
        --predictions-json PRED.json --predictions-folder PRED/ --metrics OUT.json

Reads files only, so it scores the results of any system. A folder may also be a zip file. Written numbers are
fractions of 1 at full precision (null for a group without classes); the printed table is in percent.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoptic.categories import CategoryTable
from panoptic.commands import run_command
from panoptic.files import write_atomically
from panoptic.quality import ClassQuality, GroupQuality, PanopticQuality
from panoptic.scoring import PanopticFiles, Scores, score_results


def evaluate(
    truth: PanopticFiles,
    prediction: PanopticFiles,
    metrics: Path,
    per_class: Path | None = None,
    per_image: Path | None = None,
    workers: int = 0,
) -> None:
    """Score `prediction` and write the metrics, and where asked for the tables per class and per image."""
    scores = score_results(truth, prediction, workers, progress=True)
    if scores.ignored:
        shown = ", ".join(map(str, scores.ignored[:20])) + (", ..." if len(scores.ignored) > 20 else "")
        count = len(scores.ignored)
        message = f"{count} results are for pictures that are not in the ground truth (image ids {shown}); ignored"
        print(f"warning: {prediction.panoptic_json}: {message}", file=sys.stderr)
    _write_json(metrics, metrics_to_json(scores.quality))
    if per_class is not None:
        _write_json(per_class, per_class_to_json(scores.quality, scores.categories))
    if per_image is not None:
        _write_json(per_image, per_image_to_json(scores))
    print(format_table(scores.quality, len(scores.per_image)))


def metrics_to_json(quality: PanopticQuality) -> dict[str, object]:
    """`{"pq": {"all": .., "things": .., "stuff": ..}, "sq": {..}, "rq": {..}}`."""
    groups = _groups(quality)
    return {
        "pq": {name: group.pq for name, group in groups.items()},
        "sq": {name: group.sq for name, group in groups.items()},
        "rq": {name: group.rq for name, group in groups.items()},
    }


def per_class_to_json(quality: PanopticQuality, categories: CategoryTable) -> dict[str, object]:
    """Counts and qualities of every category, by its id."""
    return {
        str(category.id): {"name": category.name} | _class_to_json(quality.per_class[category.id])
        for category in categories
    }


def per_image_to_json(scores: Scores) -> dict[str, object]:
    """Counts of every picture by its id, in total and, under `classes`, by category id."""
    return {
        str(image_id): _counts_to_json(sum(counts.values(), ClassQuality()))
        | {"classes": {str(category_id): _counts_to_json(count) for category_id, count in sorted(counts.items())}}
        for image_id, counts in scores.per_image.items()
    }


def format_table(quality: PanopticQuality, pictures: int) -> str:
    """The averages in percent, for people."""
    lines = [f"{'':8}{'PQ':>7}{'SQ':>7}{'RQ':>7}{'classes':>9}"]
    for name, group in _groups(quality).items():
        values = "".join(
            f"{'-' if value is None else f'{100 * value:.2f}':>7}" for value in (group.pq, group.sq, group.rq)
        )
        lines.append(f"{name:8}{values}{group.classes:>9}")
    return "\n".join([*lines, f"{pictures} pictures; percent, averaged over the classes that occur"])


def _groups(quality: PanopticQuality) -> dict[str, GroupQuality]:
    return {"all": quality.all, "things": quality.things, "stuff": quality.stuff}


def _counts_to_json(count: ClassQuality) -> dict[str, object]:
    return {"tp": count.tp, "fp": count.fp, "fn": count.fn, "iou_sum": count.iou_sum}


def _class_to_json(count: ClassQuality) -> dict[str, object]:
    return _counts_to_json(count) | {"pq": count.pq, "sq": count.sq, "rq": count.rq}


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--ground-truth-json", type=Path, required=True, help="panoptic JSON of the ground truth")
    parser.add_argument("--ground-truth-folder", type=Path, required=True, help="its PNGs: a folder or a zip file")
    parser.add_argument("--predictions-json", type=Path, required=True, help="panoptic JSON of the results")
    parser.add_argument("--predictions-folder", type=Path, required=True, help="their PNGs: a folder or a zip file")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to write the averages to")
    parser.add_argument("--per-class", type=Path, help="JSON file to write counts and qualities per class to")
    parser.add_argument("--per-image", type=Path, help="JSON file to write counts per picture to")
    parser.add_argument("--workers", type=int, default=0, help="processes beside this one (default: none)")
    arguments = parser.parse_args(argv)
    truth = PanopticFiles(arguments.ground_truth_json, arguments.ground_truth_folder)
    prediction = PanopticFiles(arguments.predictions_json, arguments.predictions_folder)
    outputs = (arguments.metrics, arguments.per_class, arguments.per_image)
    run_command(lambda: evaluate(truth, prediction, *outputs, workers=arguments.workers))


if __name__ == "__main__":
    main()
