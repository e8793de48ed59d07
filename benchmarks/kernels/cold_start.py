"""CPU time to compile all that the first launches of a type need, in a process that has compiled nothing.

    python -m benchmarks.kernels.cold_start float32 --levels unrolled --blocks all

Prints the seconds of the forward and of the backward program as JSON. Levels unrolled are how the programs were at
first: the same source with another loop.
"""

import argparse
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from benchmarks.harness.interleave import run_worker
from benchmarks.kernels.offline import BACKWARD, DTYPES, FORWARD, REJECTED, Launch, compile_launch
from panoptic.io.working_folder import working_folder

LOOP, UNROLLED = "for level in range(LEVELS):", "for level in tl.static_range(LEVELS):"
CAPABILITY = 90
VARIANTS = (("unrolled", "all"), ("loop", "all"), ("loop", "tuned"))


@dataclass(frozen=True)
class ColdStart:
    """Seconds of CPU time of every round: for inference the forward program, for a training step both."""

    dtype: str
    levels: str
    blocks: str
    forward: list[float]
    backward: list[float]

    @property
    def both(self) -> list[float]:
        """Seconds of both programs."""
        return [sum(pair) for pair in zip(self.forward, self.backward, strict=True)]


def measure_cold_start(dtype: str, levels: str, blocks: str, rounds: int) -> ColdStart:
    """Compile in a new process every round."""
    found = [
        json.loads(run_worker("kernels.cold_start", dtype, "--levels", levels, "--blocks", blocks))
        for _ in range(rounds)
    ]
    return ColdStart(dtype, levels, blocks, [one[FORWARD] for one in found], [one[BACKWARD] for one in found])


@contextmanager
def unrolled_programs() -> Iterator[ModuleType]:
    """Import the programs with the loop over levels unrolled. Raises `ValueError` if they have another loop."""
    from model.ops import triton_programs

    text = Path(triton_programs.__file__).read_text(encoding="utf-8")
    if text.count(LOOP) != 2:
        raise ValueError(f"{triton_programs.__file__}: found {text.count(LOOP)} of `{LOOP}`, expected 2; adapt LOOP")
    with working_folder() as folder:
        path = folder / "unrolled_programs.py"
        path.write_text(text.replace(LOOP, UNROLLED), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def main() -> None:
    """Compile what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels.cold_start", description=__doc__)
    parser.add_argument("dtype", choices=list(DTYPES))
    parser.add_argument("--levels", choices=("unrolled", "loop"), default="loop")
    parser.add_argument("--blocks", choices=("all", "tuned"), default="tuned", help="with the rejected ones, or not")
    arguments = parser.parse_args()
    with unrolled_programs() as unrolled:
        from model.ops import triton_programs

        programs = unrolled if arguments.levels == "unrolled" else triton_programs
        blocks = triton_programs.BLOCKS_AND_WARPS + (REJECTED if arguments.blocks == "all" else ())
        print(
            json.dumps(
                {
                    program: sum(
                        compile_launch(Launch(program, arguments.dtype, CAPABILITY, *block), programs).seconds
                        for block in blocks
                    )
                    for program in (FORWARD, BACKWARD)
                }
            )
        )


if __name__ == "__main__":
    main()
