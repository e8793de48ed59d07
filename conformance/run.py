"""Run all cases with other tools, each in an environment of its own, and write RESULTS.md.

    python -m conformance.run                                    # all
    python -m conformance.run --peer hotcoco --peer vernier
    python -m conformance.run --peer panoptic-pipeline           # ours, in this environment

Environments are made once, in runs/conformance/, from requirements/; panopticapi and boundary-iou-api come from their
repositories, everything else from the package index.
"""

import argparse
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from conformance.report import PAGE, page
from conformance.result_files import FOLDER, OURS, PEERS, RESULTS, read_results

REQUIREMENTS = FOLDER / "requirements"
ENVIRONMENTS = FOLDER.parent / "runs" / "conformance"


def run_peer(peer: str, results: Path = RESULTS, environments: Path = ENVIRONMENTS) -> Path:
    """Run one tool and write its results to a folder. Raises `RuntimeError` with what pip or the runner printed."""
    python = Path(sys.executable) if peer == OURS else make_environment(peer, environments / peer)
    module = f"{FOLDER.name}.runners.{peer.replace('-', '_').lower()}"
    path = results / f"{peer}.json"
    path.write_text(_run([str(python), "-m", module], FOLDER.parent))
    return path


def make_environment(peer: str, folder: Path) -> Path:
    """Make the environment of a tool, unless it is there; return its interpreter."""
    requirements = REQUIREMENTS / f"{peer}.txt"
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    if not done.is_file() or done.read_bytes() != requirements.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        # The files list all that is needed.
        _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)], folder)
        done.write_bytes(requirements.read_bytes())
    return python


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m conformance.run", description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=(OURS, *PEERS), action="append", help="one tool; may be given several times")
    failed = 0
    for peer in parser.parse_args(argv).peer or (OURS, *PEERS):
        try:
            print(run_peer(peer))
        except RuntimeError as error:  # the others run all the same
            print(f"error: {peer}: {error}", file=sys.stderr)
            failed += 1
    PAGE.write_text(page(read_results()))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
