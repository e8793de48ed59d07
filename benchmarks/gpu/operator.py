"""Deformable attention on a GPU: ours beside those of others, each checked against ours before it is timed."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu.bounds import Bound, operator_bound
from benchmarks.gpu.rivals import RIVALS
from benchmarks.harness.device import timer_for
from benchmarks.harness.interleave import interleave
from benchmarks.operator.cases import COCO_LEVELS, Case, draw_operands

HEADS, CHANNELS, POINTS = 8, 32, 4
COPIED_BYTES = 2**32
LARGEST_DIFFERENCE = 0.1
"""Relative difference from ours above which an implementation computes something else, and is not timed."""
CASES = (
    *(Case(COCO_LEVELS, batch, 0, HEADS, CHANNELS, POINTS, f"encoder, batch {batch}") for batch in (1, 2, 8)),
    Case(COCO_LEVELS, 1, 300, HEADS, CHANNELS, POINTS, "decoder, 300 queries, batch 1"),
)
PASSES = {"forward": False, "forward and backward": True}


@dataclass(frozen=True)
class KernelCost:
    """Milliseconds of every round, forward alone or with backward, and what bounds them."""

    shape: str
    passes: str
    implementation: str
    milliseconds: tuple[float, ...]
    bound: Bound

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.bound.bytes / self.median * 1000


@dataclass(frozen=True)
class RivalCheck:
    """Relative difference of an implementation from ours, or the reason why it was not timed."""

    shape: str
    implementation: str
    difference: float | None
    reason: str = ""


def operands(
    case: Case, dtype: torch.dtype, device: torch.device, weights_type: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw value, locations and weights on a device, with gradients; locations are float32."""
    value, locations, weights = (operand.to(device) for operand in draw_operands(case))
    drawn = value.to(dtype), locations, weights.to(weights_type)
    for operand in drawn:
        operand.requires_grad_()
    return drawn


def measure_operator(
    case: Case, device: torch.device, rounds: int, repeats: int, without: Sequence[str] = ()
) -> tuple[tuple[KernelCost, ...], tuple[RivalCheck, ...]]:
    """Interleave all implementations that run here, except those whose name begins with one of `without`.

    Raises:
        ValueError: ours does not run.
    """
    runs: dict[str, tuple[str, Callable[[bool], tuple[Tensor, ...]]]] = {}
    checks: list[RivalCheck] = []
    ours: tuple[Tensor, ...] = ()
    for rival in RIVALS:
        if rival.name.startswith(tuple(without)):
            continue
        try:
            drawn = operands(case, rival.dtype, device, rival.dtype if rival.weights_of_type else torch.float32)
            run = partial(rival.load(case, device).run, drawn)
            results = run(True)[:2]
            ours = ours or results
            difference = max(_difference(*pair) for pair in zip(results, ours, strict=True))
        except Exception as error:  # whatever stops a rival, the others go on
            if not ours:
                raise ValueError(f"ours does not run: {first_line(error)}") from error
            checks.append(RivalCheck(case.title, rival.name, None, first_line(error)))
            continue
        is_equal = difference <= LARGEST_DIFFERENCE
        checks.append(RivalCheck(case.title, rival.name, difference, "" if is_equal else "computes something else"))
        if is_equal:
            runs[rival.name] = str(rival.dtype).removeprefix("torch."), run
    timer, repeats = timer_for(device), max(5, repeats // case.batch)
    costs: list[KernelCost] = []
    for passes, backward in PASSES.items():
        timed = {name: partial(timer.mean, partial(run, backward), repeats) for name, (_, run) in runs.items()}
        for name, times in interleave(timed, rounds, f"{case.title}, {passes}").items():
            bound = operator_bound(case, runs[name][0], backward)
            costs.append(KernelCost(case.title, passes, name, tuple(1000 * taken for taken in times), bound))
    return tuple(costs), tuple(checks)


def first_line(error: Exception) -> str:
    """Describe an error in one line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"


def _difference(result: Tensor, ours: Tensor) -> float:
    return float((result.detach().float() - ours.detach()).abs().max() / ours.detach().abs().max())


def copy_bandwidth(repeats: int, device: torch.device, size: int = COPIED_BYTES) -> float:
    """Return the bytes per second that a large copy on the device reads and writes."""
    source = torch.randint(256, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / timer_for(device).mean(lambda: target.copy_(source), repeats)
