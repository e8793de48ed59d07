"""The page of the evaluation benchmark, and the names of its measurements."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.evaluation.peers import AP, BOUNDARY_PQ, PEERS, PQ
from benchmarks.evaluation.worker import VAL2017_IMAGES, ImageCost
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.corruptions import CORRUPTIONS

DECODING = {"decode:pillow": "Pillow", "decode:opencv": "OpenCV", "decode:ours": "ours"}
OURS = {
    "pq": "PQ",
    "pq_and_boundary": "PQ and boundary PQ",
    "pq_and_boundary_by_numpy": "PQ and boundary PQ, without the compiled core",
    "ap": "AP of masks and boxes",
}
SCORING = OURS | {name: peer.label for name, peer in PEERS.items()}
VAL2017 = {
    "val2017:without_ap": "without AP",
    "val2017:predicted": "with AP",
    "val2017:hundred": "with AP of 100 results an image",
}
TITLES = (PQ, BOUNDARY_PQ, AP)
PROCESSES = {"processes:1": "one process", "processes:2": "two processes"}
CORRUPTING = {f"corrupt:{name}": name.replace("_", " ") for name in CORRUPTIONS}

COMPARED = {**DECODING, **SCORING}
MEASUREMENTS = {**COMPARED, **VAL2017, **PROCESSES, **CORRUPTING}


@dataclass(frozen=True)
class EvaluationConditions:
    """Conditions that all measurements share; `peers` are the versions of the packages that are compared."""

    images: int
    repeats: int
    source: str
    device: str
    compiled: bool
    peers: Mapping[str, str]


@dataclass(frozen=True)
class EvaluationReport:
    """The cost per image of every measurement, by its name."""

    conditions: EvaluationConditions
    measurements: Mapping[str, ImageCost]

    def ratio(self, peer: str) -> float | None:
        """Our CPU time over that of a peer, on the same files; None unless both were measured."""
        ours = PEERS[peer].ours
        if not {peer, ours} <= self.measurements.keys():
            return None
        return self.measurements[ours].cpu_seconds / self.measurements[peer].cpu_seconds


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
        *_section("Scoring", "From files to scores, reading the JSON included.", SCORING, costs),
        *_peers(report),
        *_val2017(report),
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


def _peers(report: EvaluationReport) -> tuple[str, ...]:
    costs, versions = report.measurements, report.conditions.peers
    header = ["", "version", *TITLES, "our CPU time over its"]
    rows = [[OURS[name], "", *_scores(costs[name]), ""] for name in OURS if name in costs]
    ratios = {name: ratio for name in PEERS if (ratio := report.ratio(name)) is not None}
    rows += [
        [PEERS[name].label, versions[PEERS[name].package], *_scores(costs[name]), f"{ratio:.2f}"]
        for name, ratio in ratios.items()
    ]
    text = "The same files in the same run. Equal PQ and AP are required of all; boundary PQ is only shown."
    return ("## Beside other evaluators", text, markdown_table(header, rows)) if ratios else ()


def _scores(cost: ImageCost) -> list[str]:
    return [f"{cost.scores[title]:.9f}" if title in cost.scores else "" for title in TITLES]


def _val2017(report: EvaluationReport) -> tuple[str, ...]:
    costs, images = report.measurements, report.conditions.images
    times = math.ceil(VAL2017_IMAGES / images)
    rows = [
        [label, f"{costs[name].cpu_seconds * times * images:.1f}"] for name, label in VAL2017.items() if name in costs
    ]
    text = (
        f"{times * images} images, as many as COCO's val2017 has: the pairs {times} times, each time under other ids."
        " Scored by `stages.evaluate` with its default settings: PQ, boundary PQ, mIoU and their intervals."
    )
    return ("## val2017", text, markdown_table(["", "seconds of one core"], rows)) if rows else ()


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
