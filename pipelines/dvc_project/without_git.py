"""DVC in a project that is in no git repository, as GitHub's "Download ZIP" gives it.

    python -m pipelines.dvc_project.without_git

Flows do this themselves; the Makefile does it before it calls DVC.
"""

import argparse
import subprocess
import sys
from pathlib import Path

_PURPOSE = "Have DVC work in this folder although it is in no git repository, and with git again once there is one."


def is_in_git(folder: Path) -> bool:
    """Return True if the folder, or one that it is in, is a git repository."""
    return any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents))


def use_dvc_without_git(folder: Path) -> None:
    """Have DVC work without git where there is no repository, and with it again once there is one.

    The setting is in `.dvc/config.local`, which belongs to this copy of the project alone. Without git DVC runs all
    stages, but has no experiments.
    """
    local = folder / ".dvc" / "config.local"
    without = local.is_file() and "no_scm" in local.read_text(encoding="utf-8")
    if without == is_in_git(folder):
        change = ["--unset", "core.no_scm"] if without else ["core.no_scm", "true"]
        command = [sys.executable, "-m", "dvc", "config", "--local", *change]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def main() -> None:
    """Run the command line."""
    argparse.ArgumentParser(prog="python -m pipelines.dvc_project.without_git", description=_PURPOSE).parse_args()
    use_dvc_without_git(Path())


if __name__ == "__main__":
    main()
