"""Run all cases with other tools, each in an environment of its own, and write RESULTS.md.

    python -m conformance.run                                    # all
    python -m conformance.run --peer hotcoco --peer vernier
    python -m conformance.run --peer panoptic-pipeline           # ours, in this environment

Environments are made once, in runs/conformance/, from requirements/; panopticapi and boundary-iou-api come from their
repositories, everything else from the package index.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import NoReturn

from conformance.report import PAGE, page
from conformance.result_files import FOLDER, OURS, PEERS, RESULTS, outdated, read_results

REQUIREMENTS = FOLDER / "requirements"
ENVIRONMENTS = FOLDER.parent / "runs" / "conformance"
_LIMIT = 1800  # seconds for one tool, which takes few, or for its installation


def run_peer(peer: str, results: Path = RESULTS, environments: Path = ENVIRONMENTS) -> Path:
    """Run one tool and write its results to a folder. Raises `RuntimeError` with what pip or the runner printed."""
    python = Path(sys.executable) if peer == OURS else make_environment(peer, environments / peer)
    module = f"{FOLDER.name}.runners.{peer.replace('-', '_').lower()}"
    path = results / f"{peer}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(_run([str(python), "-m", module], FOLDER.parent))
    return partial.replace(path)


def make_environment(peer: str, folder: Path) -> Path:
    """Make the environment of a tool, unless it is there; return its interpreter."""
    requirements = REQUIREMENTS / f"{peer}.txt"
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    if not done.is_file() or done.read_bytes() != requirements.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)], FOLDER)
        # The files list all that is needed.
        _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)], folder)
        done.write_bytes(requirements.read_bytes())
    return python


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        with TemporaryDirectory() as temporary:  # for what the tool would leave if it is killed
            environment = {**os.environ, "TMPDIR": temporary}
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_LIMIT
            )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(command)} took longer than {_LIMIT} s and was ended") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m conformance.run", description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=(OURS, *PEERS), action="append", help="one tool; may be given several times")
    peers = parser.parse_args(argv).peer or (OURS, *PEERS)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    failures = [failure for peer in peers if (failure := _try_peer(peer))]
    results = read_results()
    failures += [f"{found.peer}: the results are of other cases; run it again" for found in outdated(results)]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    PAGE.write_text(page(results))
    sys.exit(1 if failures else 0)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """End with the tool that runs, which `subprocess.run` kills on the way out."""
    print(f"ended by {signal.Signals(number).name}; run the same command again", file=sys.stderr)
    sys.exit(128 + number)


def _try_peer(peer: str) -> str:
    """Run a tool; return what went wrong, so that the others run all the same."""
    try:
        print(run_peer(peer))
    except (RuntimeError, OSError) as error:
        return f"{peer}: {error}"
    return ""


if __name__ == "__main__":
    main()
