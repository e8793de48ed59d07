"""Run one measurement of the evaluation benchmark in this process.

    python -m benchmarks.evaluation.worker pq_and_boundary FOLDER --repeats 5

Prints an `ImageCost` as JSON. Each measurement imports what it needs beyond scoring itself, so that the others do not
pay its memory; the caller sets the numbers of threads, which libraries read when they are loaded.
"""

import argparse
import io
import json
import multiprocessing
import resource
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.peers import AP, BOUNDARY_PQ, PEERS, PQ, Scores
from benchmarks.evaluation.workload import Workload
from benchmarks.harness.timer import Timer
from model.complexity.memory import MEBIBYTE, status_bytes
from panoptic.evaluation import overlaps
from panoptic.evaluation.dataset import PanopticGroundTruth, score_results
from panoptic.evaluation.image import WITHOUT_BOUNDARY, ScoringSettings
from panoptic.format import id_map
from panoptic.format.id_map import MAX_ID, decode_id_map, rgb_to_ids

SCALING_IMAGES = 2000  # enough to make the start of processes negligible
VAL2017_IMAGES = 5000
_SEVERITIES = 5


@dataclass(frozen=True)
class Task:
    """Work on a number of images; `once` returns the scores that it finds."""

    once: Callable[[], Scores]
    images: int


@dataclass(frozen=True)
class ImageCost:
    """Medians over repeats, per image; CPU time includes the processes that it starts.

    `peak_memory` is in MB: that of the process, or of the largest that it starts.
    """

    cpu_seconds: float
    wall_seconds: float
    peak_memory: float
    scores: Scores


def measure(task: Task, repeats: int) -> ImageCost:
    """Repeat the task after a warm-up."""
    cpu, wall = [], []
    with _watched_children() as peaks:
        scores = task.once()
    for _ in range(repeats):
        started = _cpu_seconds()
        wall.append(Timer().seconds(task.once) / task.images)
        cpu.append((_cpu_seconds() - started) / task.images)
    return ImageCost(statistics.median(cpu), statistics.median(wall), max(peaks, default=_peak_megabytes()), scores)


def prepare(name: str, workload: Workload) -> Task:
    """Return the task of that name. Raises `ValueError` for an unknown name."""
    task, _, variant = name.partition(":")
    match task:
        case "decode":
            return _decoding(workload, variant)
        case "pq":
            return _scoring(workload, WITHOUT_BOUNDARY)
        case "pq_and_boundary":
            return _scoring(workload, ScoringSettings())
        case "pq_and_boundary_by_numpy":
            return _scoring_by_numpy(workload)
        case "processes":
            return _scoring(workload, ScoringSettings(), workload.times_for(SCALING_IMAGES), int(variant))
        case "ap":
            return _average_precision(workload)
        case "val2017":
            return _scoring_all(workload, variant)
        case "corrupt":
            return _corrupting(workload, variant)
    if name in PEERS:
        return Task(lambda: PEERS[name].score(workload), workload.count)
    raise ValueError(f"unknown measurement '{name}'")


def _decoding(workload: Workload, library: str) -> Task:
    """Decode the two PNGs of each image to ids."""
    decode = DECODERS[library]
    pairs = [sorted(files.masks.iterdir()) for files in (workload.ground_truth, workload.prediction)]

    def once() -> Scores:
        for paths in zip(*pairs, strict=True):
            for path in paths:
                decode(path)
        return {}

    return Task(once, workload.count)


def _decode(path: Path) -> NDArray[np.int32]:
    return decode_id_map(path.read_bytes(), str(path))


def _decode_by_pillow(path: Path) -> NDArray[np.int32]:
    from PIL import Image

    return rgb_to_ids(np.asarray(Image.open(path)))


def _decode_by_opencv(path: Path) -> NDArray[np.int32]:
    import cv2

    image = cv2.imread(str(path))
    assert image is not None
    rgba = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA), np.uint8)  # the fastest way to ids that we know
    return rgba.view(np.int32)[..., 0] & MAX_ID


DECODERS = {"pillow": _decode_by_pillow, "opencv": _decode_by_opencv, "ours": _decode}


def _scoring(workload: Workload, settings: ScoringSettings, times: int = 1, workers: int = 0) -> Task:
    """Score the files, listed so many times, in this process or in others that are started for it."""
    files, prediction = workload.repeated(times) if times > 1 else (workload.ground_truth, workload.prediction)

    def once() -> Scores:
        ground_truth = PanopticGroundTruth.from_files(files)
        scores = score_results(ground_truth, prediction, settings, workers).scores
        names = {PQ: "pq"} | ({BOUNDARY_PQ: "boundary_pq"} if settings.boundary_ratio else {})
        return {title: scores.average(name) or 0.0 for title, name in names.items()}

    return Task(once, times * workload.count)


def _scoring_by_numpy(workload: Workload) -> Task:
    id_map.COMPILED = overlaps.COMPILED = False
    return _scoring(workload, ScoringSettings())


def _average_precision(workload: Workload) -> Task:
    """Compute the AP of masks and boxes from files."""
    from panoptic.evaluation.average_precision import average_precision
    from panoptic.format.annotations import read_annotations
    from panoptic.instances.results import read_instance_results

    table = read_annotations(workload.ground_truth.panoptic_json).categories
    assert table is not None, "without a table given, reading has raised"

    def once() -> Scores:
        results = read_instance_results(workload.predicted_instances, table)
        found = average_precision(workload.gt_instances, results, table)
        return {AP: found.by_iou_type["segm"].numbers["AP"] or 0.0}

    return Task(once, workload.count)


def _scoring_all(workload: Workload, instances: str) -> Task:
    """Score as many images as val2017 has by `stages.evaluate` as it is by default, intervals included."""
    from stages.evaluate import EvaluationSettings, Inputs, Outputs, evaluate

    times = workload.times_for(VAL2017_IMAGES)
    files, prediction = workload.repeated(times)
    gt_instances, found, hundred = workload.repeated_instances(times)
    predicted = {"without_ap": None, "predicted": found, "hundred": hundred}[instances]
    outputs = Outputs(workload.folder / "metrics.json")

    def once() -> Scores:
        ground_truth = PanopticGroundTruth.from_files(files)
        inputs = Inputs(ground_truth, prediction, gt_instances if predicted else None, predicted)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            evaluate(inputs, outputs, EvaluationSettings())
        return {}

    return Task(once, times * workload.count)


def _corrupting(workload: Workload, corruption: str) -> Task:
    """Corrupt images in memory, one severity after the other."""
    import cv2
    from PIL import Image

    from panoptic.robustness.corruptions import corrupt_image

    cv2.setNumThreads(1)
    images = [np.asarray(Image.open(path), np.uint8) for path in sorted(workload.images.iterdir())]

    def once() -> Scores:
        for number, image in enumerate(images):
            corrupt_image(image, corruption, 1 + number % _SEVERITIES, number)
        return {}

    return Task(once, len(images))


@contextmanager
def _watched_children() -> Iterator[list[float]]:
    """Poll the peak memory in MB of the processes that the block starts."""
    peaks: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for child in multiprocessing.active_children():
                with suppress(OSError):  # it has ended meanwhile
                    peaks.append(_peak_megabytes(str(child.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _peak_megabytes(process: str = "self") -> float:
    return status_bytes("VmHWM", process) / MEBIBYTE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.worker", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    measured = measure(prepare(arguments.name, Workload(arguments.folder)), arguments.repeats)
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
