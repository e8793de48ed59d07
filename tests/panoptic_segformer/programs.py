"""Running Python as a program of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]


def run_python(
    *arguments: str,
    folder: Path = ROOT,
    path: Sequence[Path] = (ROOT,),
    python: Path = Path(sys.executable),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> "subprocess.CompletedProcess[str]":
    """Run Python in a folder, with a path of modules and further variables of the environment."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **variables}
    return subprocess.run([str(python), *arguments], capture_output=True, text=True, cwd=folder, env=environment)
