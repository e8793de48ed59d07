"""Print the scores of the last run, and where its report, images and tables are; `make run` ends with it.

panoptic results
"""

import json
import os
from pathlib import Path

from panoptic.io.reading import read_text
from panoptic.runtime.cli import command_parser, run_command
from pipelines.reporting.tables import nested_value, text_table

SCORES = Path("runs/evaluate/metrics.json")
# By section of the file, and the group of classes or else the key whose number is in the row "all".
_COLUMNS = {"PQ": "pq", "SQ": "sq", "RQ": "rq", "boundary PQ": "boundary_pq"}
_SINGLE = {"mIoU": ("all", "miou"), "mask AP": ("things", "ap.segm.AP"), "box AP": ("things", "ap.bbox.AP")}
_EXAMPLES = """
panoptic results
dvc repro && panoptic results
"""
_GROUPS = ("all", "things", "stuff")
_REPORT = Path("runs/report.html")
_OUTPUTS = {
    "runs/predict/images": "images: image, ground truth and prediction side by side",
    "runs/plots": "plots: loss, PQ during training, PQ loss by error type",
    "runs/robustness/severity.png": "plot: PQ under corruption",
    "runs/robustness/table.md": "table: PQ under corruption",
    "runs/complexity/table.md": "table: parameters, FLOPs, latency and memory",
    "runs/evaluate": "all scores, by class and by image",
    "runs/train/model.safetensors": "weights",
}


def summary(folder: Path) -> str:
    """Return the table of scores and the list of outputs.

    Raises:
        ValueError: there are no scores, or `folder` is no checkout of the project.
    """
    file = folder / SCORES
    if not os.path.lexists(file):
        if not (folder / "dvc.yaml").is_file():
            raise ValueError(
                f"{folder.absolute()}: is no checkout of the project (it has no dvc.yaml), so it has no runs; change "
                "to the folder that the project was cloned to"
            )
        raise ValueError(f"{file}: no scores yet; compute them with `dvc repro evaluate`")
    try:
        metrics = json.loads(read_text(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file}: not valid JSON ({error}); compute it with `dvc repro evaluate`") from None
    if not isinstance(metrics, dict):
        raise ValueError(f"{file}: expected sections of scores, found a {type(metrics).__name__}; compute it again")
    table = [["percent", *_COLUMNS, *_SINGLE]]
    for group in _GROUPS:
        row = [_percent(nested_value(metrics, f"{section}.{group}")) for section in _COLUMNS.values()]
        row += [_percent(nested_value(metrics, key)) if group == of else "" for of, key in _SINGLE.values()]
        table.append([group, *row])
    outputs = [f"  {path:30}{content}" for path, content in _OUTPUTS.items() if (folder / path).exists()]
    lines = [*outputs, "", "Inspect the errors, segment by segment: make browse"]
    report = folder / _REPORT
    if report.exists():
        size = report.stat().st_size / 1e6
        lines += [f"Read or send the report: {_REPORT} ({size:.1f} MB)", f"  {report.resolve().as_uri()}"]
    return "\n".join([text_table(table), "", *lines])


def _percent(value: object) -> str:
    return f"{100 * value:.1f}" if isinstance(value, float) else "-"


def main() -> None:
    """Run the command line; the exit status is 2 if there are no scores."""
    command_parser("results", __doc__, _EXAMPLES).parse_args()
    run_command(lambda: print(summary(Path())))


if __name__ == "__main__":
    main()
