"""A tiny project in git to run sweeps over, whose training can be made to fail or to hang."""

import os
import subprocess
import sys
from pathlib import Path

from pipelines.dvc_project.workspace import git

METRIC = "runs/metrics.json:found.score"
LEARN = """
import fcntl, sys, time
from pathlib import Path
import yaml
learn = yaml.safe_load(Path("params.yaml").read_text())["learn"]
state = Path("runs/state")
print("resuming" if state.exists() else "starting", learn["rate"], flush=True)
with Path("datasets/begun").open("a") as begun:
    begun.write(f"{learn['rate']}\\n")
if learn["rate"] == 13:
    sys.exit("no luck with 13")
if Path("datasets/hold").exists():
    lock = Path("datasets/lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    state.parent.mkdir(exist_ok=True)
    state.touch()
    print("holding", flush=True)
    time.sleep(600)
Path("runs/weights").write_text(str(learn["rate"] * 10 + learn["width"]))
"""
SCORE = """
import json
from pathlib import Path
score = int(Path("runs/weights").read_text())
Path("runs/metrics.json").write_text(json.dumps({"found": {"score": score}}))
"""
DVC_YAML = """
stages:
  learn:
    cmd: python learn.py
    deps: [learn.py, data]
    params: [learn]
    outs: [runs/weights]
  score:
    cmd: python score.py
    deps: [score.py, runs/weights]
    metrics: [runs/metrics.json]
"""


def write_checkout(folder: Path) -> Path:
    """Create a repository with two stages, data tracked by DVC, and a dataset that git ignores."""
    (folder / "datasets").mkdir(parents=True)
    (folder / "runs").mkdir()
    (folder / "learn.py").write_text(LEARN)
    (folder / "score.py").write_text(SCORE)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text("learn:\n  rate: 1 # of learning\n  width: 1\n")
    (folder / ".gitignore").write_text("/datasets/\n/runs/\n/data\n")
    (folder / "data").write_text("images")
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "Somebody")
    git(folder, "config", "user.email", "somebody@localhost")
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "add", "--quiet", "data")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "All of it")
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    """Run a DVC command and return its output; PATH includes the environment's programs, for the queue."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
