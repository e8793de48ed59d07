"""The command `panoptic`: a table of commands, each of which is a module with a command line of its own.

A command runs as `python -m MODULE` would: options, messages, exit status and handling of signals are the module's.
"""

import difflib
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from types import MappingProxyType

from panoptic_segformer.neighbors import NEIGHBORS, require_own_neighbors

DISTRIBUTION = "panoptic-pipeline"
_DOCTOR = "doctor"


@dataclass(frozen=True)
class Command:
    """One command."""

    group: str
    """Heading under which the help lists it; commands of a group follow each other in the table."""
    module: str
    summary: str


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "predict": Command("use a model", "panoptic_segformer.predict", "predict photos and videos: maps and overlays"),
        "serve": Command("use a model", "panoptic_segformer.serve", "answer requests, with a page to drop photos on"),
        "weights": Command("use a model", "panoptic_segformer.weights", "fetch, convert, verify and share weights"),
        "export": Command("use a model", "model.export", "write a network as ONNX or for torch.export"),
        "check": Command("use your own data", "panoptic.tools.check", "find what is wrong with a dataset"),
        "convert": Command("use your own data", "panoptic.tools.convert", "read annotations of LabelMe, COCO or CVAT"),
        "evaluate": Command("see scores", "stages.evaluate", "score the results of any system: PQ, mIoU, AP"),
        "papers": Command("see scores", "panoptic_segformer.papers", "print a table of the papers beside our results"),
        "results": Command("see scores", "pipelines.summary", "print the scores of the last run"),
        "report": Command("see scores", "stages.report", "write a page about a run: scores, errors, images"),
        "explain": Command("see scores", "panoptic_segformer.explain", "see what queries attend to in photos"),
        "calibrate": Command("see scores", "panoptic_segformer.calibrate", "choose the score threshold of merging"),
        "plan": Command("prepare", "benchmarks.plan", "estimate hours, memory and disk of a training run"),
        _DOCTOR: Command("prepare", "panoptic_segformer.doctor", "find what is wrong with an installation"),
        "completion": Command("prepare", "panoptic_segformer.completion", "complete commands in bash, zsh or fish"),
    }
)
_EXAMPLES = (
    "panoptic predict photo.jpg --model runs/train/model.safetensors",
    "panoptic convert photos/ --classes classes.yaml --out datasets/own",
    "panoptic check datasets/own --page check.html",
    "panoptic plan experiments/coco.yaml --gpus 8",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; the others are its own. Returns 2 if there is no such command."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(overview())
    elif name == "--version":
        print(f"panoptic {installed_version() or '(not installed)'}")
    elif name in COMMANDS:
        run(name, arguments)
    else:
        return _refuse(name)
    return 0


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a command in this process as `python -m` would."""
    module = COMMANDS[name].module
    # Packages see this as the name of the program while Python still looks for the module.
    sys.argv = ["-m", *arguments]
    try:
        require_own_neighbors((*NEIGHBORS, module.partition(".")[0]))
        from panoptic.runtime.cli import end_quietly_until_run
        from panoptic.runtime.waiting import choose_waiting
    except Exception as error:  # a damaged file of the package raises anything
        if name != _DOCTOR:  # which says what is wrong and imports nothing that may be missing
            damaged = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            hint = "; see `panoptic doctor`, or install again" if damaged else ""
            print(f"error: {damaged}{error}{hint}", file=sys.stderr)
            sys.exit(2)
    else:
        end_quietly_until_run()
        choose_waiting()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def overview() -> str:
    """Return the help: all commands by group, and examples."""
    lines = ["Panoptic segmentation, from your photos to maps and from your data to a model", ""]
    lines += ["usage: panoptic COMMAND ...", ""]
    width = max(map(len, COMMANDS))
    for group, commands in groupby(COMMANDS.items(), key=lambda item: item[1].group):
        lines += [f"{group}:", *(f"  {name:{width}}  {command.summary}" for name, command in commands), ""]
    lines += ["examples:", *(f"  {example}" for example in _EXAMPLES), ""]
    return "\n".join([*lines, "panoptic COMMAND --help explains a command; panoptic --version tells the version"])


def installed_version() -> str | None:
    """Return the version of the installed project; None where the code runs from a folder without installation."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def _refuse(name: str) -> int:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(COMMANDS)}"
    print(f"error: panoptic {name}: there is no such command; {hint}", file=sys.stderr)
    return 2
