"""The page of the evaluation benchmark, and the names of its measurements."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.evaluation.worker import Measured
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
class Conditions:
    """What all measurements had in common. `hotcoco`: its version, None where it is not installed."""

    images: int
    repeats: int
    source: str
    device: str
    compiled: bool
    hotcoco: str | None


def ratio(measured: Mapping[str, Measured]) -> float | None:
    """CPU time of our PQ over that of hotcoco's, on the same files; None if not both were measured."""
    if not {"pq", "hotcoco"} <= measured.keys():
        return None
    return measured["pq"].cpu_seconds / measured["hotcoco"].cpu_seconds


def markdown(measured: Mapping[str, Measured], conditions: Conditions) -> str:
    """The page, with what was measured."""
    core = "used" if conditions.compiled else "not built: all rows are those of numpy and OpenCV"
    introduction = (
        f"Written by `python -m benchmarks.evaluation` on {conditions.device}. {conditions.images} pairs of id maps"
        f" {conditions.source}; predictions are the truth, bent and spoilt. CPU time an image of a process with one"
        f" thread, median of {conditions.repeats} repeats after one that does not count. The compiled core is {core}."
    )
    lines = ["# Evaluation: speed and memory", "", introduction, ""]
    lines += [
        *_section("Decoding both PNGs of an image", "From files to ids.", DECODING, measured),
        *_section("Scoring", "From files to numbers, reading the JSON included.", SCORING | INSTANCES, measured),
        *_peer(measured, conditions),
        *_scaling(measured),
        *_section("Corruptions", "Of an image in memory; mean of the five severities.", CORRUPTING, measured),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, text: str, rows: Mapping[str, str], measured: Mapping[str, Measured]) -> Iterator[str]:
    found = {label: measured[name] for name, label in rows.items() if name in measured}
    if found:
        yield from (f"## {title}", "", text, "")
        yield "| | CPU ms an image | images a second and core | peak memory of the process, MB |"
        yield "|---|---:|---:|---:|"
        for label, one in found.items():
            yield f"| {label} | {one.cpu_seconds * 1e3:.2f} | {1 / one.cpu_seconds:.0f} | {one.peak_memory:.0f} |"
        yield ""


def _peer(measured: Mapping[str, Measured], conditions: Conditions) -> Iterator[str]:
    factor = ratio(measured)
    if factor is not None:
        yield (
            f"Ours to hotcoco {conditions.hotcoco}, PQ of the same files in the same run: {factor:.2f} times the CPU"
            f" time; both find {measured['pq'].pq:.9f}."
        )
        yield ""


def _scaling(measured: Mapping[str, Measured]) -> Iterator[str]:
    if measured.keys() >= PROCESSES.keys():
        one, two = (measured[name] for name in PROCESSES)
        yield (
            f"PQ and boundary PQ by worker processes, with their start: one scores {1 / one.wall_seconds:.0f} images"
            f" a second by the clock, two {1 / two.wall_seconds:.0f}, {one.wall_seconds / two.wall_seconds:.2f} times"
            f" as many; CPU time of all processes {one.cpu_seconds * 1e3:.2f} and {two.cpu_seconds * 1e3:.2f} ms a"
            f" image. A worker takes {max(one.peak_memory, two.peak_memory):.0f} MB at most."
        )
        yield ""
