"""The page of the evaluation benchmark, and the names of its measurements."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.evaluation.worker import ImageCost
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.corruptions import CORRUPTIONS

DECODING = {"decode:pillow": "Pillow", "decode:opencv": "OpenCV", "decode:ours": "ours"}
SCORING = {
    "pq": "PQ",
    "pq_and_boundary": "PQ and boundary PQ",
    "pq_and_boundary_by_numpy": "PQ and boundary PQ, without the compiled core",
    "hotcoco": "PQ by hotcoco",
}
INSTANCES = {"ap": "AP of masks and boxes, by pycocotools"}
PROCESSES = {"processes:1": "one process", "processes:2": "two processes"}
CORRUPTING = {f"corrupt:{name}": name.replace("_", " ") for name in CORRUPTIONS}

COMPARED = {**DECODING, **SCORING}
MEASUREMENTS = {**COMPARED, **INSTANCES, **PROCESSES, **CORRUPTING}


@dataclass(frozen=True)
class EvaluationConditions:
    """Conditions that all measurements share; `hotcoco` is its version, None where it is not installed."""

    images: int
    repeats: int
    source: str
    device: str
    compiled: bool
    hotcoco: str | None


@dataclass(frozen=True)
class EvaluationReport:
    """The cost per image of every measurement, by its name."""

    conditions: EvaluationConditions
    measurements: Mapping[str, ImageCost]

    @property
    def ratio_to_hotcoco(self) -> float | None:
        """CPU time of our PQ over that of hotcoco's, on the same files; None unless both were measured."""
        if not {"pq", "hotcoco"} <= self.measurements.keys():
            return None
        return self.measurements["pq"].cpu_seconds / self.measurements["hotcoco"].cpu_seconds


def evaluation_page(report: EvaluationReport) -> str:
    """Render a table for decoding, scoring and corruptions each."""
    conditions, costs = report.conditions, report.measurements
    core = "used" if conditions.compiled else "not built: all rows are those of numpy and OpenCV"
    return markdown_page(
        "# Evaluation: speed and memory",
        f"Written by `python -m benchmarks.evaluation` on {conditions.device}. {conditions.images} pairs of id maps"
        f" {conditions.source}; predictions are distorted ground truth. CPU time per image of a process with one"
        f" thread, median of {conditions.repeats} repeats after a warm-up. The compiled core is {core}.",
        *_section("Decoding both PNGs of an image", "From files to ids.", DECODING, costs),
        *_section("Scoring", "From files to scores, reading the JSON included.", SCORING | INSTANCES, costs),
        _hotcoco(report),
        _scaling(costs),
        *_section("Corruptions", "One image in memory; mean of the five severities.", CORRUPTING, costs),
    )


def _section(title: str, text: str, labels: Mapping[str, str], costs: Mapping[str, ImageCost]) -> tuple[str, ...]:
    found = {label: costs[name] for name, label in labels.items() if name in costs}
    if not found:
        return ()
    header = ["", "CPU ms per image", "images per second and core", "peak memory of the process, MB"]
    rows = [
        [label, f"{cost.cpu_seconds * 1e3:.2f}", f"{1 / cost.cpu_seconds:.0f}", f"{cost.peak_memory:.0f}"]
        for label, cost in found.items()
    ]
    return f"## {title}", text, markdown_table(header, rows)


def _hotcoco(report: EvaluationReport) -> str:
    if report.ratio_to_hotcoco is None:
        return ""
    return (
        f"PQ of the same files in the same run: ours takes {report.ratio_to_hotcoco:.2f} of the CPU time of hotcoco"
        f" {report.conditions.hotcoco}; both find {report.measurements['pq'].pq:.9f}."
    )


def _scaling(costs: Mapping[str, ImageCost]) -> str:
    if not costs.keys() >= PROCESSES.keys():
        return ""
    one, two = (costs[name] for name in PROCESSES)
    return (
        f"PQ and boundary PQ in worker processes, their start included: one scores {1 / one.wall_seconds:.0f} images"
        f" per second of wall time, two {1 / two.wall_seconds:.0f}, {one.wall_seconds / two.wall_seconds:.2f} times as"
        f" many. CPU time of all processes: {one.cpu_seconds * 1e3:.2f} and {two.cpu_seconds * 1e3:.2f} ms per image."
        f" A worker takes {max(one.peak_memory, two.peak_memory):.0f} MB at most."
    )
