"""Inspect a dataset in COCO panoptic layout: report every issue with its file and a hint, and a summary.

    panoptic check PATH [--params FILE] [--json FILE] [--page FILE.html] [--workers N] [--all]
    panoptic check --panoptic-json JSON --masks PNGS --images IMAGES

If there are no errors, the dataset is fit for use and the exit status is 0. The status is 1 if there are errors, and
2 if there is nothing to inspect. Warnings and notes deserve a look. Every file is read, and none is changed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.io.names import normal_text
from panoptic.runtime.cli import command_parser, run_command

_EXAMPLES = """
panoptic check datasets/own
panoptic check datasets/own --split val --page check.html
panoptic check --panoptic-json panoptic_val2017.json --masks panoptic_val2017.zip --images val2017.zip
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with status 1 if the dataset has errors, and 2 for wrong use."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        from panoptic.tools.check.command import check

        check(arguments)

    run_command(command)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("check", __doc__, _EXAMPLES)
    parser.add_argument("path", type=Path, nargs="?", help="folder of a dataset in COCO panoptic layout")
    parser.add_argument(
        "--split", type=normal_text, action="append", default=[], help="inspect only this split; can be repeated"
    )
    parser.add_argument("--panoptic-json", type=Path, help="the panoptic JSON of a single split in another layout")
    parser.add_argument("--masks", type=Path, help="its panoptic PNGs: a folder or a zip file")
    parser.add_argument("--images", type=Path, help="its images: a folder or a zip file")
    parser.add_argument("--params", type=Path, help="settings with the number of queries (default: params.yaml)")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON; - prints it instead of the tables")
    parser.add_argument(
        "--page", metavar="FILE", help="write a page with summary, issues and images (a single HTML file)"
    )
    parser.add_argument(
        "--page-images",
        type=int,
        default=24,
        help="number of images on the page, those with issues first (default: 24)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the choice of sound images on the page (default: 0)"
    )
    parser.add_argument("--workers", type=int, default=-1, help="worker processes (default: one per core; 0: none)")
    parser.add_argument("--all", action="store_true", help="list every issue instead of the first of each type")
    return parser


if __name__ == "__main__":
    main()
