"""Runs the parts of the GPU benchmark within a time, and keeps what earlier runs have finished."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter

from benchmarks.gpu.parts import Findings, GpuSettings, Part
from panoptic.runtime.cli import ending_with_this

OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""Nothing is downloaded in the time of a GPU: kernels of the hub have to lie in its cache."""


@dataclass(frozen=True)
class Conditions:
    """What measurements have to agree in to stand in one page."""

    gpu: str
    memory_bytes: int
    versions: dict[str, str]
    """With a digest of our code, named so."""
    rounds: int
    repeats: int
    images: int


@dataclass(frozen=True)
class PartResult:
    """Findings of a part, or the reason why there are none, and the seconds that it took."""

    name: str
    seconds: float
    findings: Findings | None
    reason: str = ""


@dataclass(frozen=True)
class GpuReport:
    """All parts so far, measured or not, in the order of `parts.PARTS`."""

    conditions: Conditions
    command: str
    parts: tuple[PartResult, ...] = ()

    def resumed(self, earlier: "GpuReport") -> "GpuReport":
        """Take over what an earlier run has finished under the same conditions."""
        if earlier.conditions != self.conditions:
            return self
        return replace(self, parts=tuple(part for part in earlier.parts if part.findings))


def run_parts(
    report: GpuReport,
    parts: Sequence[Part],
    seconds: float,
    run: Callable[[Part], PartResult],
    save: Callable[[GpuReport], None],
) -> GpuReport:
    """Run what is not finished, as far as its budget fits into the seconds left, and save after each part."""
    end = time.monotonic() + seconds
    results = {result.name: result for result in report.parts}
    for part in parts:
        if part.name in results:
            continue
        left = max(0, end - time.monotonic())
        late = f"left out for want of time: it may take {part.seconds:.0f} s, and {left:.0f} s were left"
        results[part.name] = run(part) if part.seconds <= left else PartResult(part.name, 0, None, late)
        report = replace(report, parts=tuple(results[one.name] for one in parts if one.name in results))
        save(report)
    return report


def run_apart(part: Part, settings: GpuSettings) -> PartResult:
    """Run a part in a process of its own, and end it when its time is over."""
    started = time.monotonic()

    def result(findings: Findings | None, reason: str) -> PartResult:
        return PartResult(part.name, time.monotonic() - started, findings, reason)

    command = [sys.executable, "-m", "benchmarks.gpu.worker"]
    task = json.dumps({"part": part.name, "settings": asdict(settings)})
    environment = {**ending_with_this(), **OFFLINE}
    try:
        ended = subprocess.run(
            command, input=task, stdout=subprocess.PIPE, env=environment, text=True, timeout=part.seconds
        )
    except subprocess.TimeoutExpired:
        return result(None, f"ended when its {part.seconds:.0f} s were over")
    if ended.returncode:
        return result(None, f"its process ended with status {ended.returncode}; see its message on standard error")
    answer = json.loads(ended.stdout.splitlines()[-1])
    if "reason" in answer:
        return result(None, answer["reason"])
    return result(TypeAdapter(Findings).validate_python(answer["findings"]), "")
