"""The loop of a fuzzer: damage an input, run the target, keep what reaches new lines, report what must not happen."""

import io
import random
import resource
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING

from tests.fuzz.mutation import MAX_BYTES, Mutator
from tests.fuzz.target import Target

if TYPE_CHECKING:
    from _typeshed import TraceFunction

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).with_name("corpus")
CPU_SECONDS, MEMORY = 2.0, 1_500_000  # of one input; memory in kB
_OWN = tuple(f"{ROOT / folder}/" for folder in ("panoptic", "model", "cluster"))


@dataclass(frozen=True)
class Finding:
    """An input that a target has neither taken nor refused properly; findings of one cause have equal `cause`."""

    data: bytes
    cause: str
    report: str


@dataclass
class Coverage:
    """The lines of the project that have run."""

    lines: set[tuple[CodeType, int]] = field(default_factory=set)
    _own: dict[str, bool] = field(default_factory=dict)

    def trace(self, frame: FrameType, _event: str, _argument: object) -> "TraceFunction | None":
        """Follow a call if its function is of the project."""
        name = frame.f_code.co_filename
        if name not in self._own:
            self._own[name] = name.startswith(_OWN)
        return self._line if self._own[name] else None

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Note the lines that run in the block."""
        sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(None)

    def _line(self, frame: FrameType, event: str, _argument: object) -> "TraceFunction":
        if event == "line":
            self.lines.add((frame.f_code, frame.f_lineno))
        return self._line


def corpus(target: Target) -> dict[str, bytes]:
    """Return the sound inputs of a target, and the kept ones, by name."""
    kept = sorted((CORPUS / target.name).glob("*"))
    return dict(target.seeds()) | {path.name: path.read_bytes() for path in kept}


def execute(target: Target, data: bytes, folder: Path) -> Finding | None:
    """Run a target on one input in an empty folder; return what must not happen, if it does."""
    folder.mkdir()
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        with redirect_stdout(io.StringIO()):  # what a target notes about its input is of no interest
            target.run(data, folder)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) or not target.refused_properly(error):
            return Finding(data, _cause(error), traceback.format_exc())
    finally:
        shutil.rmtree(folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    grown, seconds = after.ru_maxrss - before.ru_maxrss, after.ru_utime - before.ru_utime
    if grown > MEMORY:
        return Finding(data, "memory", f"took {grown / 1e6:.1f} GB; at most {MEMORY / 1e6} GB are allowed")
    if seconds > CPU_SECONDS:
        return Finding(data, "time", f"took {seconds:.1f} s; at most {CPU_SECONDS} s are allowed")
    return None


def _cause(error: BaseException) -> str:
    """The type of an error, and the line of the project or else of a target that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith((*_OWN, f"{ROOT / 'tests'}/"))] or list(frames)
    return f"{type(error).__name__} in {own[-1].filename.removeprefix(f'{ROOT}/')}:{own[-1].lineno}"


class Fuzzer:
    """Runs a target on its corpus and then on damaged inputs, which follow from the seed alone."""

    def __init__(self, target: Target, seed: int, folder: Path) -> None:
        """`folder` is for the files of the target."""
        self._target, self._folder = target, folder / "files"
        self._rng = random.Random(f"{target.name} {seed}")
        self._mutator = Mutator(self._rng, target.format.tokens)
        self._coverage = Coverage()
        self.pool = list(corpus(target).values())
        """Inputs that more damage starts from."""
        self._sound = len(self.pool)
        self.executions = 0

    def inputs(self) -> Iterator[bytes]:
        """Yield the corpus, then damaged inputs without end."""
        yield from tuple(self.pool)
        while True:
            # What reached new lines last is the most promising.
            newest = self.pool[-20:] if self._rng.random() < 0.5 else self.pool
            yield self._damaged(self._rng.choice(newest), self._rng.choice(self.pool))

    def run(self, data: bytes) -> Finding | None:
        """Execute the target on one input, and keep it for further damage if it reaches new lines."""
        known = len(self._coverage.lines)
        with self._coverage.measured():
            finding = execute(self._target, data, self._folder)
        if finding and finding.cause == "time":  # which tracing costs, too
            finding = execute(self._target, data, self._folder)
        self.executions += 1
        if len(self._coverage.lines) > known and finding is None and data not in self.pool:
            self.pool.append(data)
        return finding

    def _damaged(self, data: bytes, other: bytes) -> bytes:
        if self._rng.random() < 0.6:
            with suppress(Exception):  # damaged before, or beyond what the format can express
                parse, build = self._target.format.parse, self._target.format.build
                built = build(self._mutator.damaged_tree(parse(data), parse(other)))
                if len(built) <= MAX_BYTES:
                    return built
        return self._mutator.damaged_bytes(data, other)

    @property
    def lines(self) -> int:
        """Lines of the project that were run."""
        return len(self._coverage.lines)

    @property
    def in_corpus(self) -> bool:
        """Whether some of the corpus has not been run yet."""
        return self.executions < self._sound


def reduced(target: Target, pool: list[bytes], folder: Path) -> list[bytes]:
    """Return few and small inputs that reach all lines of `pool` that the corpus does not reach."""
    coverage = Coverage()
    known = list(corpus(target).values())
    kept = []
    for data in (*known, *sorted((data for data in pool if data not in known), key=len)):
        before = len(coverage.lines)
        with coverage.measured():
            execute(target, data, folder / "files")
        if len(coverage.lines) > before and data not in known:
            kept.append(data)
    return kept
