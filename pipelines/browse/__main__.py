"""Browse the errors of one run, or of several side by side, in the FiftyOne App.

    python -m pipelines.browse
    python -m pipelines.browse runs/browse wider=../wider/runs/browse
    python -m pipelines.browse --agreement

Loads the files of `dvc repro browse`, saves the views, serves the App on 127.0.0.1 and prints the addresses. Loading
again keeps the dataset and its ids. Ctrl-C or SIGTERM stops the App and the database.
"""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from panoptic.runtime.cli import run_command
from pipelines.browse.agreement import agreement_table
from pipelines.browse.app import app_running, import_fiftyone
from pipelines.browse.database import database
from pipelines.browse.labels import NamedRun, name_runs
from pipelines.browse.loading import load, require_same_images
from pipelines.browse.plugin import write_plugin
from pipelines.browse.run_files import BrowseError, Run
from pipelines.browse.views import SavedView, arrange_app, save_views
from pipelines.process.ending import ENDING, end_at_once

STATE = Path("runs/state/browse")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    arguments = _parser().parse_args(argv)
    previous = {number: signal.signal(number, _leave) for number in ENDING}
    try:
        run_command(lambda: _browse(arguments))
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Exit normally, so that the servers are stopped, too; another Ctrl-C does not wait for them."""
    end_at_once()
    print("\nstopped", flush=True)
    sys.exit(128 + number)


def _browse(arguments: argparse.Namespace) -> None:
    runs = name_runs({name: Run.open(folder, arguments.state) for name, folder in _named(arguments.runs).items()})
    require_same_images(runs)
    with database(arguments.state) as uri:
        fiftyone = import_fiftyone(uri)
        started = time.monotonic()
        dataset = load(fiftyone, arguments.dataset, runs)
        views = save_views(fiftyone, dataset, runs)
        arrange_app(fiftyone, dataset, runs)
        print(f"dataset '{arguments.dataset}': {len(dataset)} images, {time.monotonic() - started:.1f} s to load")
        if arguments.agreement:
            print(agreement_table(fiftyone, dataset, runs[0]))
        elif not arguments.load_only:
            plugins = write_plugin(fiftyone, dataset, runs, arguments.state)
            with app_running(fiftyone, arguments.port, arguments.state / "app.log", plugins) as address:
                _print_addresses(f"{address}/datasets/{dataset.slug}", views, runs)
                while True:
                    signal.pause()


def _print_addresses(address: str, views: Sequence[SavedView], runs: Sequence[NamedRun]) -> None:
    print(f"\nThe App: {address}\n")
    width = max(len(view.slug) for view in views)
    for view in views:
        print(f"  {view.slug:{width}}  {view.description}\n  {'':{width}}  {address}?view={view.slug}")
    if len(runs) > 1:
        others = ", ".join(f"'{run.name}' (its fields end in {run.suffix})" for run in runs[1:])
        print(f"\nBeside '{runs[0].name}': {others}")
    print("\nCtrl-C stops it.", flush=True)


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """Parse `NAME=FOLDER`, or a folder alone, whose run is named after its position."""
    named: dict[str, Path] = {}
    for number, text in enumerate(texts):
        name, equals, folder = text.rpartition("=")
        name = name if equals else ("run" if number == 0 else f"run{number + 1}")
        if not _NAME.fullmatch(name) or name in named:
            raise BrowseError(f"{text!r}: a run needs a unique name of a-z, 0-9 and _; write NAME=FOLDER")
        named[name] = Path(folder)
    return named


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.browse", description=__doc__.splitlines()[0])
    help_runs = "folders that stages.browse wrote; the others are compared with the first (default: runs/browse)"
    parser.add_argument("runs", nargs="*", default=["runs/browse"], metavar="[NAME=]FOLDER", help=help_runs)
    parser.add_argument("--dataset", default="panoptic", help="name of the dataset in FiftyOne (default: panoptic)")
    parser.add_argument("--state", type=Path, default=STATE, help=f"folder for database and files (default: {STATE})")
    parser.add_argument("--port", type=int, default=5151, help="port of the App (default: 5151)")
    parser.add_argument("--load-only", action="store_true", help="load and save the views without opening the App")
    help_agreement = "compare FiftyOne's own matching of things with ours, without opening the App"
    parser.add_argument("--agreement", action="store_true", help=help_agreement)
    return parser


if __name__ == "__main__":
    status = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    # FiftyOne's threads and exit handlers would still talk to the database, which has stopped.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
