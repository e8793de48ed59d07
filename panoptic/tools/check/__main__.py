"""Inspect a dataset in COCO panoptic layout: report every issue with its file and a hint, and a summary.

    python -m panoptic.tools.check PATH [--params FILE] [--json FILE] [--page FILE.html] [--workers N] [--all]
    python -m panoptic.tools.check --panoptic-json JSON --masks PNGS --images IMAGES

If there are no errors, the dataset is fit for use and the exit status is 0. The status is 1 if there are errors, and
2 if there is nothing to inspect. Warnings and notes deserve a look. Every file is read, and none is changed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from panoptic.datasets.layout import SplitFiles
from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.names import normal_text
from panoptic.runtime.cli import run_command
from panoptic.runtime.parallel import count_processes
from panoptic.tools.check.capacity import PUBLISHED_QUERIES, read_queries
from panoptic.tools.check.dataset import DatasetCheck, check_dataset
from panoptic.tools.check.issues import Issue
from panoptic.tools.check.layout import find_splits
from panoptic.tools.check.page import make_page
from panoptic.tools.check.report import as_json, as_text

_PARTS = ("panoptic_json", "masks", "images")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with status 1 if the dataset has errors, and 2 for wrong use."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        check = _check(arguments)
        if arguments.page:
            _write(arguments.page, make_page(check, arguments.page_images, arguments.seed))
        if arguments.json:
            _write(arguments.json, as_json(check))
        if arguments.json != "-":
            print(as_text(check, arguments.all))
        if check.has_errors:
            sys.exit(1)

    run_command(command)


def _check(arguments: argparse.Namespace) -> DatasetCheck:
    name, splits, issues = _splits(arguments)
    progress = sys.stderr.isatty()
    # Only a file that was asked for has to exist: a dataset can be inspected anywhere.
    params = arguments.params or Path("params.yaml")
    queries = read_queries(params) if arguments.params or params.exists() else PUBLISHED_QUERIES
    return check_dataset(name, splits, issues, count_processes(arguments.workers), progress, queries)


def _splits(arguments: argparse.Namespace) -> tuple[str, dict[str, SplitFiles], list[Issue]]:
    """Return the name of the dataset, its splits, and the issues found on the way."""
    parts = {part: getattr(arguments, part) for part in _PARTS}
    if arguments.path is None:
        if None in parts.values():
            raise DatasetError(
                "nothing to inspect; give the folder of a dataset, or --panoptic-json, --masks, --images"
            )
        files = SplitFiles(**parts)
        return str(files.panoptic_json), {files.panoptic_json.stem.removeprefix("panoptic_"): files}, []
    if any(parts.values()):
        raise DatasetError(f"{arguments.path}: give either a folder, or --panoptic-json, --masks and --images")
    splits, issues = find_splits(arguments.path)
    unknown = [split for split in arguments.split if split not in splits]
    if unknown:
        raise DatasetError(f"{arguments.path}: there is no split '{unknown[0]}'; found: {', '.join(splits)}")
    return str(arguments.path), {name: splits[name] for name in arguments.split or splits}, issues


def _write(target: str, text: str) -> None:
    if target == "-":
        print(text, end="")
    else:
        # A JSON may hold half a surrogate pair, which no file can.
        write_atomically(Path(target), text.encode(errors="backslashreplace"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.check", description=__doc__.splitlines()[0])
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
