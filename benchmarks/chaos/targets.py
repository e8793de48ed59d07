"""The programs to disturb, on a dataset of a few images, and what they write undisturbed."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.board import Board
from benchmarks.chaos.files import Digests, digest_tree
from benchmarks.chaos.moments import DVC, FLOW, ROOT, STAGES, SWEEP, TORCHRUN, WHOLE
from benchmarks.chaos.processes import MARK
from benchmarks.harness.timer import Timer
from panoptic.tools.mini.write import write_dataset
from pipelines.dvc_project.parameters import read_parameters
from pipelines.dvc_project.workspace import git
from pipelines.override import override_settings

TRAIN_IMAGES, VAL_IMAGES = 12, 6
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "annotate": {"workers": 1},
    "model": {
        "channels": 32,
        "location_layers": 1,
        "thing_mask_layers": 1,
        "stuff_mask_layers": 1,
        "feedforward": 32,
        "mask_feedforward": 32,
        "queries": 8,
        "selected_queries": 8,
    },
    "train": {"epochs": 2, "batch_size": 2, "images_per_forward": 1, "warmup_steps": 1, "workers": 1}
    | {"log_every": 2, "save_every": 3, "validate_every": 6},
    "predict": {"images": 2, "batch_size": 2},
    "evaluate": {"workers": 1, "bootstrap": 20},
    "corrupt": {
        "corruptions": ["gaussian_noise"],
        "severities": [1, 3],
        "images": 2,
        "archives": True,
        "workers": 1,
    },
    "complexity": {"models": ["configured"], "flops_size": [160, 128], "latency_models": ["configured"], "repeats": 1},
    "browse": {"workers": 1},
    "explain": {"drawn": 1, "segments": 1, "bootstrap": 20},
}
"""Changes of params.yaml: a few steps of a tiny network, with a process beside every stage that can have one."""
_TORCHRUN = {"cluster": {"launcher": "torchrun", "processes_per_node": 2}}
_CODE = ("panoptic", "model", "stages", "pipelines", "cluster")
_DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n"
_OVERHEAD = 1.5  # of DVC and Prefect, as a factor


@dataclass(frozen=True)
class Target:
    """A program: the tree that it starts in, the files there after an undisturbed run, and what that run took."""

    name: str
    command: tuple[str, ...]
    before: Path
    after: Digests
    operations: int
    seconds: float

    @property
    def is_whole(self) -> bool:
        """True for a program that runs many stages, in a copy of the checkout."""
        return self.name in WHOLE


def environment(tree: Path, folder: Path, mark: str, board: Board | None, shim: Path | None) -> dict[str, str]:
    """Return the environment of a program: temporary files in the tree, all else that it keeps in `folder`."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    if board and shim:
        found |= {"LD_PRELOAD": str(shim), "CHAOS_BOARD": str(board.path), "CHAOS_FOLDER": str(tree)}
    return found | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(tree / "tmp"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),  # else torch makes it in TMPDIR
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "dvc"),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        MARK: mark,
    }


@dataclass(frozen=True)
class Preparation:
    """Undisturbed runs below `folder`, which everything else is compared with."""

    folder: Path
    shim: Path | None

    def targets(self, names: AbstractSet[str]) -> dict[str, Target]:
        """Prepare these programs."""
        chain = self._chain(STAGES if names & set(WHOLE) else STAGES[: max(map(_position, names)) + 1])
        found = {target.name: target for target in chain}
        if TORCHRUN in names:
            tree = self._copy(found["train"].before, TORCHRUN)
            self._override(tree / "params.yaml", _TORCHRUN)
            found[TORCHRUN] = self._run(TORCHRUN, found["train"].command, tree)
        if names & set(WHOLE):
            found |= self._whole(chain, names)
        return {name: target for name, target in found.items() if name in names}

    def _chain(self, stages: tuple[str, ...]) -> list[Target]:
        """Run the stages one after another, each in a copy of what the one before has left."""
        described = read_parameters(ROOT / "dvc.yaml")["stages"]
        tree = self.folder / "first"
        write_dataset(tree / "data" / "mini", TRAIN_IMAGES, VAL_IMAGES, seed=0, processes=1)
        shutil.copyfile(ROOT / "params.yaml", tree / "params.yaml")
        self._override(tree / "params.yaml", SETTINGS)
        (tree / "tmp").mkdir()
        chain = []
        for stage in stages:
            command = (sys.executable, *shlex.split(described[stage]["cmd"])[1:])
            chain.append(self._run(stage, command, tree))
            tree = self.folder / f"{stage}.after"
        return chain

    def _whole(self, chain: list[Target], names: AbstractSet[str]) -> dict[str, Target]:
        """Programs that run all stages; they write what the stages wrote one by one."""
        tree, seconds = self._copy(chain[0].before, "checkout"), _OVERHEAD * sum(target.seconds for target in chain)
        for name in _CODE:
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore", "pyproject.toml"):
            shutil.copyfile(ROOT / name, tree / name)
        (tree / ".dvc").mkdir()
        (tree / ".dvc" / "config").write_text(_DVC_CONFIG, encoding="utf-8")
        sweep = self._copy(tree, "sweep") if SWEEP in names else None
        (tree / ".dvc" / "config").write_text(f"{_DVC_CONFIG}    no_scm = true\n", encoding="utf-8")
        after = {**digest_tree(tree), **chain[-1].after}
        commands = {DVC: ("dvc", "repro"), FLOW: ("pipelines.reproduce",)}
        found = {
            name: Target(name, (sys.executable, "-m", *words), tree, after, 0, seconds)
            for name, words in commands.items()
        }
        return found | ({SWEEP: self._sweep(sweep)} if sweep else {})

    def _sweep(self, tree: Path) -> Target:
        (tree / ".gitignore").write_text("/runs/\n/tmp/\n*.so\n", encoding="utf-8")
        git(tree, "init", "--quiet")
        for key, value in (("user.name", "chaos"), ("user.email", "chaos@localhost")):
            git(tree, "config", key, value)
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "--message", "All of it")
        words = ("pipelines.sweep", "seeds", "--grid", "train.seed=0,1")
        return self._run(SWEEP, (sys.executable, "-m", *words), tree)

    def _run(self, name: str, command: tuple[str, ...], before: Path) -> Target:
        """Run a program undisturbed in a copy of the tree, and count what it does.

        Raises:
            ValueError: it failed.
        """
        after, timer = self._copy(before, f"{name}.after"), Timer()
        board = Board(self.folder / "board")
        told = environment(after, self.folder, str(self.folder), board, self.shim)
        done = timer.lap(name, subprocess.run, command, cwd=after, env=told, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{shlex.join(command)} failed undisturbed:\n{done.stderr[-2000:]}")
        return Target(name, command, before, digest_tree(after), board.operations, timer.laps[name])

    def _copy(self, tree: Path, name: str) -> Path:
        copy = self.folder / name.replace(" ", "-")
        shutil.copytree(tree, copy, symlinks=True)
        return copy

    def _override(self, params: Path, settings: Mapping[str, Mapping[str, object]]) -> None:
        change = self.folder / "change.yaml"
        change.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        override_settings(params, [change], params)


def _position(name: str) -> int:
    return STAGES.index("train" if name == TORCHRUN else name)
