"""Run one measurement of the data access benchmark in this process.

    python -m benchmarks.data_access.worker open:index FOLDER --workers 8 --reads 5000 --rounds 7

Prints a list of `AccessCost` as JSON. Memory is read from /proc/self/smaps_rollup (Linux).
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from benchmarks.data_access.workload import DataFiles
from benchmarks.harness.interleave import interleave
from benchmarks.harness.timer import Timer
from panoptic.data.decoding import decode_image
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.files import FileSource, open_files

_MEGABYTE = 1e6


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a process in MB: resident, the same with shared pages divided by their users, and unshared."""

    rss: float
    pss: float
    private: float

    @classmethod
    def now(cls) -> "MemoryUse":
        """Read the memory of this process."""
        fields = {}
        for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
            name, value, *_ = line.split()
            fields[name.rstrip(":")] = int(value) * 1024 / _MEGABYTE
        return cls(fields["Rss"], fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"])

    def above(self, base: "MemoryUse") -> "MemoryUse":
        """Return what was added to `base`."""
        return MemoryUse(self.rss - base.rss, self.pss - base.pss, self.private - base.private)


@dataclass(frozen=True)
class AccessCost:
    """Seconds of every repetition of one measurement, and the memory that it took in one worker."""

    name: str
    seconds: list[float]
    memory: MemoryUse | None = None


def opening(what: str, files: DataFiles) -> list[AccessCost]:
    """Open the index, its records as objects, its archive, or the archive by its own directory."""
    open_ = _OPENERS[what]
    base, timer = MemoryUse.now(), Timer()
    held = timer.lap(what, open_, files)
    taken = MemoryUse.now().above(base)
    del held
    return [AccessCost(f"open:{what}", [timer.laps[what]], taken)]


_OPENERS: Mapping[str, Callable[[DataFiles], object]] = {
    "index": lambda files: PanopticIndex.load(files.index),
    "objects": lambda files: tuple(PanopticIndex.load(files.index).records),
    "archive": lambda files: PanopticIndex.load(files.index).image_files(),
    "directory": lambda files: open_files(files.archive),
}


def starting(what: str, how: str, files: DataFiles, workers: int, reads: int) -> list[AccessCost]:
    """Start workers that hold the records, until each has looked at some; `how` is fork or spawn."""
    index = PanopticIndex.load(files.index)
    held: dict[str, Sequence[ImageRecord]] = {"nothing": (), "index": index.records}
    records = held[what] if what in held else tuple(index.records)
    context = get_context("fork") if how == "fork" else get_context("spawn")
    answers, barrier = context.Queue(), context.Barrier(workers + 1)
    processes: list[BaseProcess] = []

    def start() -> None:
        processes.extend(
            context.Process(target=_hold, args=(records, reads, seed, barrier, answers)) for seed in range(workers)
        )
        for process in processes:
            process.start()
        barrier.wait()

    seconds = Timer().seconds(start)
    found: list[MemoryUse] = [answers.get() for _ in processes]
    barrier.wait()
    for process in processes:
        process.join()
    memory = MemoryUse(*(float(np.mean([getattr(one, part) for one in found])) for part in ("rss", "pss", "private")))
    return [AccessCost(f"start:{what}:{how}", [seconds], memory)]


def _hold(records: Sequence[ImageRecord], reads: int, seed: int, barrier: Barrier, answers: "Queue[MemoryUse]") -> None:
    for position in np.random.default_rng(seed).integers(0, max(1, len(records)), reads).tolist():
        assert not records or records[position].segments
    barrier.wait()
    answers.put(MemoryUse.now())
    barrier.wait()  # until all have looked: pages count as shared only while others hold them


def reading(files: DataFiles, workers: int, reads: int, rounds: int) -> list[AccessCost]:
    """Read random images from the folder and from the archive, interleaved.

    In one process, and in several that share them; as bytes, and decoded.
    """
    index, timer = PanopticIndex.load(files.index), Timer()
    _SOURCES.update(folder=open_files(files.loose), archive=index.image_files())  # inherited by the workers' fork
    chosen = np.random.default_rng(2).integers(0, len(index.records), reads).tolist()
    names = [index.records[position].file_name for position in chosen]
    shards = [names[number::workers] for number in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:

        def alone(source: str, decoded: bool) -> None:
            _read(source, decoded, names)

        def together(source: str, decoded: bool) -> None:
            list(pool.map(partial(_read, source, decoded), shards))

        runs = {
            f"{'decode' if decoded else 'read'}:{source}:{processes}": partial(
                timer.seconds, partial(read, source, decoded)
            )
            for source in _SOURCES
            for decoded in (False, True)
            for processes, read in ((1, alone), (workers, together))
        }
        return [AccessCost(name, seconds) for name, seconds in interleave(runs, rounds, "read").items()]


_SOURCES: dict[str, FileSource] = {}


def _read(source: str, decoded: bool, names: Sequence[str]) -> None:
    for name in names:
        data = _SOURCES[source].read(name)
        if decoded:
            decode_image(data, name)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_access.worker")
    parser.add_argument("name", help="open:WHAT, start:WHAT:HOW or read")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--reads", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    arguments = parser.parse_args(argv)
    files = DataFiles(arguments.folder)
    match arguments.name.split(":"):
        case ["open", what]:
            found = opening(what, files)
        case ["start", what, how]:
            found = starting(what, how, files, arguments.workers, arguments.reads)
        case _:
            found = reading(files, arguments.workers, arguments.reads, arguments.rounds)
    print(json.dumps([asdict(one) for one in found]))


if __name__ == "__main__":
    main()
