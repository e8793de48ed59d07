"""Make a copy of the project ready to run wherever it is; `make install` ends with it.

    python -m pipelines.checkout

A copy without git (a zip download) gets settings with which DVC works, and DVC's state a folder for its owner alone.
An environment that was moved along with its folder gets programs that start it where it is now. The embedded dataset
is fetched unless it is there.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from pipelines.dvc_project.private_state import keep_state_private
from pipelines.dvc_project.without_git import use_dvc_without_git

_TRACKED = {"data.dvc": "data"}
_MADE_BY = re.compile(r"command = .* -m venv (?:--\S+ )*(.+)")
# A program's first line, or the three with which a shell starts it: the first cannot hold a path with spaces.
_HEAD = re.compile(r"#!/bin/sh\n'''exec' .*\n' '''\n|#!.*/python[\d.]*\n")


def main() -> int:
    """Run the command line; the exit status is that of DVC, which fetches the dataset."""
    argparse.ArgumentParser(prog="python -m pipelines.checkout", description=__doc__.splitlines()[0]).parse_args()
    folder = Path()
    if repaired := repair_programs(Path(sys.prefix)):
        print(f"the environment was moved here: {repaired} programs adapted")
    use_dvc_without_git(folder)
    keep_state_private(folder)
    missing = [file for file, data in _TRACKED.items() if not (folder / data).exists()]
    return subprocess.call([sys.executable, "-m", "dvc", "pull", *missing]) if missing else 0


def repair_programs(environment: Path) -> int:
    """Correct the paths in the programs of a moved environment, and return the number of changed files."""
    old = _original_folder(environment / "pyvenv.cfg")
    if old is None or old.exists():  # never moved, or made by another tool, or `environment` is a link
        return 0
    texts = [environment / "pyvenv.cfg", *environment.glob("lib/python*/site-packages/__editable__*")]
    programs = [path for path in (environment / "bin").iterdir() if path.is_file() and not path.is_symlink()]
    changed = 0
    for path in (*programs, *texts):
        text = path.read_bytes().decode(errors="surrogateescape")
        head = _HEAD.match(text)
        if "\0" in text or not (head or str(old.parent) in text):
            continue
        rest = text[head.end() if head else 0 :].replace(str(old.parent), str(environment.parent))
        text = (_head(environment / "bin" / "python") if head else "") + rest
        path.write_bytes(text.encode(errors="surrogateescape"))
        changed += 1
    return changed


def _head(python: Path) -> str:
    """Return the first lines of a program; to Python the second and third are a text."""
    quoted = re.sub(r'(["$`\\])', r"\\\1", str(python))
    return f"#!/bin/sh\n'''exec' \"{quoted}\" \"$0\" \"$@\"\n' '''\n"


def _original_folder(configuration: Path) -> Path | None:
    """Return the folder for which `python -m venv` made the environment, if it did."""
    found = _MADE_BY.search(configuration.read_text(encoding="utf-8")) if configuration.is_file() else None
    return Path(found[1]) if found else None


if __name__ == "__main__":
    sys.exit(main())
