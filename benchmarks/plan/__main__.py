"""Estimate the cost of a recipe before it is run: images, steps, disk, memory and hours.

    panoptic plan experiments/coco.yaml experiments/coco/12e.yaml
    panoptic plan experiments/coco.yaml experiments/coco/12e.yaml --gpus 8 --json plan.json

The files override params.yaml, which is not changed; without any, the plan is that of params.yaml. It needs no dataset,
no pretrained weights and no network connection: a few training steps and predictions are measured here, with random
weights, on images of the sizes that the recipe's augmentation produces.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command
from pipelines.dvc_project.parameters import setting

_EXAMPLES = """
panoptic plan
panoptic plan experiments/coco.yaml experiments/coco/12e.yaml --gpus 8
panoptic plan experiments/coco.yaml --set train.epochs=36 --measure-steps 0 --json plan.json
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        from benchmarks.plan.command import plan

        plan(arguments)

    run_command(command)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("plan", __doc__, _EXAMPLES)
    parser.add_argument(
        "overrides",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="files in experiments/, later ones override earlier ones",
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings to override")
    parser.add_argument("--set", nargs="+", type=setting, default=[], metavar="KEY=VALUE", help="single settings")
    parser.add_argument(
        "--gpus",
        type=int,
        help="processes that share each step (default: the GPUs of this machine, or one process)",
    )
    parser.add_argument(
        "--annotated", type=Path, default=Path("runs/annotate"), help="folder with indices, if it exists"
    )
    parser.add_argument(
        "--measure-steps", type=int, default=3, metavar="N", help="repetitions of each measurement; 0: count only"
    )
    parser.add_argument("--json", type=Path, help="file to write the plan to as well")
    return parser


if __name__ == "__main__":
    main()
