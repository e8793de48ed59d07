"""What the command `panoptic check` does, apart from its parser: see `__main__`."""

import argparse
import sys
from pathlib import Path

from panoptic.datasets.layout import SplitFiles
from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.runtime.parallel import count_processes
from panoptic.tools.check.capacity import PUBLISHED_QUERIES, read_queries
from panoptic.tools.check.dataset import DatasetCheck, check_dataset
from panoptic.tools.check.issues import Issue
from panoptic.tools.check.layout import find_splits
from panoptic.tools.check.page import make_page
from panoptic.tools.check.report import as_json, as_text

_PARTS = ("panoptic_json", "masks", "images")


def check(arguments: argparse.Namespace) -> None:
    """Inspect a dataset and report what was found; exits with status 1 if it has errors."""
    found = _check(arguments)
    if arguments.page:
        _write(arguments.page, make_page(found, arguments.page_images, arguments.seed))
    if arguments.json:
        _write(arguments.json, as_json(found))
    if arguments.json != "-":
        print(as_text(found, arguments.all))
    if found.has_errors:
        sys.exit(1)


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
