"""One measurement of the data access benchmark, in a process of its own.

    python -m benchmarks.data_access.worker open:index FOLDER --workers 8 --reads 5000 --rounds 7

Prints a list of `Measured` as JSON. Memory is that of /proc/self/smaps_rollup (Linux), less what the process, or a
worker that holds nothing, has anyway.
"""

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from benchmarks.data_access.workload import DataFiles
from panoptic.data.reader import decode_image
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.files import FileSource, open_files

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Memory:
    """In MB: all that is present, the same with shared pages divided by their users, and what is not shared."""

    rss: float
    pss: float
    private: float

    @classmethod
    def now(cls) -> "Memory":
        fields = {}
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
            name, value, *_ = line.split()
            fields[name.rstrip(":")] = int(value) * 1024 / _MEGABYTE
        return cls(fields["Rss"], fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"])

    def above(self, base: "Memory") -> "Memory":
        """What came on top of `base`."""
        return Memory(self.rss - base.rss, self.pss - base.pss, self.private - base.private)


@dataclass(frozen=True)
class Measured:
    """Seconds of something, each time that it was done, and the memory that it took, of one worker."""

    name: str
    seconds: list[float]
    memory: Memory | None = None


def opening(what: str, files: DataFiles) -> list[Measured]:
    """Open the index, its records as objects, or the archive by its own directory."""
    base, started = Memory.now(), time.perf_counter()
    match what:
        case "index":
            held: object = PanopticIndex.load(files.index)
        case "objects":
            held = tuple(PanopticIndex.load(files.index).records)
        case "archive":
            held = PanopticIndex.load(files.index).image_files()
        case _:
            held = open_files(files.archive)
    seconds = time.perf_counter() - started
    taken = Memory.now().above(base)
    del held
    return [Measured(f"open:{what}", [seconds], taken)]


def starting(what: str, how: str, files: DataFiles, workers: int, reads: int) -> list[Measured]:
    """Start workers that hold the records, until each has looked at some; `how` is that of multiprocessing."""
    index = PanopticIndex.load(files.index)
    held: dict[str, Sequence[ImageRecord]] = {"nothing": (), "index": index.records}
    records = held[what] if what in held else tuple(index.records)
    context = get_context("fork") if how == "fork" else get_context("spawn")
    answers, barrier = context.Queue(), context.Barrier(workers + 1)
    started = time.perf_counter()
    processes = [
        context.Process(target=_hold, args=(records, reads, number, barrier, answers)) for number in range(workers)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    seconds = time.perf_counter() - started
    found: list[Memory] = [answers.get() for _ in processes]
    barrier.wait()
    for process in processes:
        process.join()
    memory = Memory(*(float(np.mean([getattr(one, part) for one in found])) for part in ("rss", "pss", "private")))
    return [Measured(f"start:{what}:{how}", [seconds], memory)]


def _hold(records: Sequence[ImageRecord], reads: int, seed: int, barrier: Barrier, answers: "Queue[Memory]") -> None:
    for position in np.random.default_rng(seed).integers(0, max(1, len(records)), reads).tolist():
        assert not records or records[position].segments
    barrier.wait()
    answers.put(Memory.now())
    barrier.wait()  # until all have looked: pages count as shared while others hold them


def reading(files: DataFiles, workers: int, reads: int, rounds: int) -> list[Measured]:
    """Read random images from the folder and from the archive, which take turns, after a round that does not count.

    By one process, and by several that divide them; as bytes, and decoded.
    """
    index = PanopticIndex.load(files.index)
    sources: dict[str, FileSource] = {"folder": open_files(files.loose), "archive": index.image_files()}
    chosen = np.random.default_rng(2).integers(0, len(index.records), reads).tolist()
    names = [index.records[position].file_name for position in chosen]
    found: dict[str, list[float]] = {}
    parts = [names[number::workers] for number in range(workers)]
    _SOURCES.update(sources)  # of this process, and of those that it forks
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        for turn in range(rounds + 1):
            for name in sources:
                for decoded in (False, True):
                    kind = f"{'decode' if decoded else 'read'}:{name}"
                    for processes, shares in ((1, [names]), (workers, parts)):
                        count = len(shares)
                        work = pool.map if processes > 1 else map
                        started = time.perf_counter()
                        list(work(_read, [name] * count, shares, [decoded] * count))
                        seconds = time.perf_counter() - started
                        if turn:
                            found.setdefault(f"{kind}:{processes}", []).append(seconds)
    return [Measured(name, seconds) for name, seconds in found.items()]


_SOURCES: dict[str, FileSource] = {}


def _read(source: str, names: Sequence[str], decoded: bool) -> None:
    for name in names:
        data = _SOURCES[source].read(name)
        if decoded:
            decode_image(data, name)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
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
