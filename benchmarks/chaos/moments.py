"""The seeded list of moments: what happens, to which program, and when."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipelines.dvc_project.parameters import read_parameters


class Kind(StrEnum):
    """What happens to a program, or to the machine below it."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    INTERRUPT = "Ctrl-C"
    DISK_FULL = "disk full"
    READ_ONLY = "read-only disk"
    SLOW_DISK = "slow disk"
    CLOCK = "clock jump"
    TINY_SHM = "tiny /dev/shm"
    OUT_OF_MEMORY = "child out of memory"


MOUNTS = frozenset({Kind.DISK_FULL, Kind.READ_ONLY, Kind.TINY_SHM})
"""Kinds that mount file systems."""
SHIMMED = frozenset({Kind.SLOW_DISK, Kind.CLOCK})
"""Kinds that need the compiled library."""
UNHARMED = frozenset({Kind.SLOW_DISK, Kind.CLOCK})
"""Kinds that a program has to survive, not only to recover from."""

ROOT = Path(__file__).parents[2]
STAGES = tuple(map(str, read_parameters(ROOT / "dvc.yaml")["stages"]))
"""All stages, in an order in which they can run."""
TORCHRUN, DVC, FLOW, SWEEP = "train with torchrun", "dvc repro", "pipelines.reproduce", "pipelines.sweep"
WHOLE = (DVC, FLOW, SWEEP)
_WITH_WORKERS = ("annotate", "train", "evaluate", "corrupt", "browse", TORCHRUN)
_OF_WHOLE = {
    Kind.KILL: WHOLE,
    Kind.TERM: WHOLE,
    Kind.INTERRUPT: (DVC, FLOW),
    Kind.DISK_FULL: (DVC,),
}
"""Programs that run many stages; each combination occurs once, because it takes a minute."""
_BY_TIME = frozenset({Kind.TINY_SHM, Kind.OUT_OF_MEMORY})
"""Kinds that do not happen at an operation: one is there from the start, one needs a living child."""
_BY_OPERATION = 2 / 3


@dataclass(frozen=True)
class Moment:
    """One disturbance: after this fraction of the operations that change files, or else of the time."""

    number: int
    kind: Kind
    target: str
    by_operation: bool
    fraction: float

    def __str__(self) -> str:
        return f"{self.number}: {self.kind}, {self.target}"


def list_moments(count: int, seed: int, can_count: bool = True) -> tuple[Moment, ...]:
    """Draw moments: all kinds in turn, killing twice as often, each for all of its targets in random order.

    Without `can_count` every moment is told by the time.
    """
    draw = random.Random(seed)
    kinds = [Kind.KILL, *Kind]
    targets = {kind: _targets(kind, random.Random(f"{seed} {kind}")) for kind in Kind}
    moments = []
    for number, kind in zip(range(1, count + 1), itertools.cycle(kinds), strict=False):
        target, by_operation, fraction = next(targets[kind]), draw.random() < _BY_OPERATION, draw.random()
        by_operation &= can_count and target not in WHOLE and kind not in _BY_TIME
        moments.append(Moment(number, kind, target, by_operation, fraction))
    return tuple(moments)


def _targets(kind: Kind, draw: random.Random) -> Iterator[str]:
    programs = _WITH_WORKERS if kind in (Kind.OUT_OF_MEMORY, Kind.TINY_SHM) else (*STAGES, TORCHRUN)
    yield from _shuffled([*programs, *_OF_WHOLE.get(kind, ())], draw)
    while True:
        yield from _shuffled(programs, draw)


def _shuffled(items: Sequence[str], draw: random.Random) -> list[str]:
    return draw.sample(items, len(items))
