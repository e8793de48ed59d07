"""Clone the checkout for one trial of a sweep, with its own settings and the checkout's DVC cache.

`dvc exp run --temp` and DVC's queue make such folders too, but without files that git ignores (datasets, compiled code)
and without a folder that survives a killed run, so that training could not resume.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.dvc_project.private_state import STATE
from pipelines.dvc_project.project import DvcProject
from pipelines.process.private_folder import make_private
from pipelines.process.session import Show, failure

# Files that git ignores and stages read, relative to the checkout. Each trial has its own outputs (runs/).
LINKED = ("datasets", "pretrained", "panoptic/*/_*.so", "panoptic/*/_*.pyd", "model/ops/_*.so", "model/ops/_*.pyd")
# Trials take the settings from the checkout, and any stage that ran before from DVC's cache, whatever dvc.lock says.
UNCOMMITTED = ("params.yaml", "dvc.lock")


class GitError(ValueError):
    """A git command failed, or trials cannot start from the state of the checkout."""


@dataclass(frozen=True)
class Checkout:
    """A git repository with a DVC project at its top level, whose current commit, or another one, the trials run."""

    folder: Path
    revision: str = "HEAD"

    def commit(self) -> str:
        """Return the hash of the commit that trials run."""
        return git(self.folder, "rev-parse", f"{self.revision}^{{commit}}").strip()

    def require_committed(self) -> None:
        """Raise `GitError` if a tracked file differs from the commit, unless it is in `UNCOMMITTED`."""
        lines = git(self.folder, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no").split("\0")[:-1]
        changed = [line[3:] for line in lines if line[3:] not in UNCOMMITTED]
        if changed:
            raise GitError(
                f"uncommitted changes: {', '.join(changed)}; trials run the commit, with the current settings of"
                " params.yaml: commit or revert the changes"
            )

    def experiments(self) -> frozenset[str]:
        """Return the names of the DVC experiments on the commit."""
        prefix = self.experiment("")
        references = git(self.folder, "for-each-ref", "--format=%(refname)", prefix).split()
        return frozenset(reference.removeprefix(prefix) for reference in references)

    def experiment(self, name: str) -> str:
        """Return the git reference of a DVC experiment on the commit."""
        commit = self.commit()
        return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"

    def cache(self) -> Path:
        """Return the folder of the DVC cache."""
        return self.folder.joinpath(DvcProject(self.folder).dvc("cache", "dir").strip()).resolve()


@dataclass(frozen=True)
class Workspace:
    """A clone of `checkout` in `folder`, kept until `remove` so that a stopped trial can resume."""

    checkout: Checkout
    folder: Path

    def prepare(self, parameters: Path, cache: Path, stages: Sequence[str]) -> None:
        """Create the clone, or reuse the one of a stopped trial, with its settings and the data that `stages` need.

        Raises:
            CommandError, GitError: git or DVC failed.
        """
        if not self._is_of(self.checkout.commit()):
            self.remove()
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            source = self.checkout.folder.resolve()
            git(self.checkout.folder, "clone", "--quiet", "--shared", str(source), str(self.folder.resolve()))
        # Also because DVC stashes changes while it runs, and a kill loses them.
        git(self.folder, "reset", "--quiet", "--hard", self.checkout.commit())
        for key, fallback in (("user.name", "sweep"), ("user.email", "sweep@localhost")):
            if not git(self.folder, "config", "--default", "", "--get", key).strip():
                git(self.folder, "config", key, fallback)
        shutil.copyfile(parameters, self.folder / "params.yaml")
        self._link(cache)
        project = DvcProject(self.folder)
        if files := project.tracked_files(stages):
            project.dvc("pull", *files)  # from the remote only what the cache lacks

    def run(self, name: str, stages: Sequence[str], show: Show) -> None:
        """Run the experiment and push it to the checkout.

        Raises:
            CommandError, GitError: A stage, DVC or git failed.
        """
        clone = Checkout(self.folder)
        if name not in clone.experiments():  # otherwise it was stopped before the push
            DvcProject(self.folder).run_experiment(name, stages, show)
        reference = clone.experiment(name)
        git(self.folder, "push", "--quiet", "origin", f"{reference}:{reference}")

    def remove(self) -> None:
        """Remove the folder; results are in the checkout and its cache."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _is_of(self, commit: str) -> bool:
        # A clone that was interrupted has no readable HEAD.
        top = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"], cwd=_nearest(self.folder), capture_output=True, text=True
        )
        return top.returncode == 0 and top.stdout.splitlines() == [str(self.folder.resolve()), commit]

    def _link(self, cache: Path) -> None:
        # As a link, the cache may have any path; some, with quotes or umlauts, cannot be written into DVC's settings.
        dvc = self.folder / ".dvc"
        settings = f"[core]\n    site_cache_dir = {STATE}\n[cache]\n    dir = cache\n"
        (dvc / "config.local").write_text(settings, encoding="utf-8")
        make_private(self.folder / STATE, "remove it")
        cache.mkdir(parents=True, exist_ok=True)
        if not (dvc / "cache").is_symlink():
            (dvc / "cache").symlink_to(cache)
        source = self.checkout.folder.resolve()
        found = [path.relative_to(source) for pattern in LINKED for path in sorted(source.glob(pattern))]
        for path in found:
            link = self.folder / path
            if not (link.exists() or link.is_symlink()):
                link.symlink_to(source / path)
        # `/datasets/` in .gitignore matches a folder, not a link.
        (self.folder / ".git" / "info" / "exclude").write_text(
            "".join(f"/{path.as_posix()}\n" for path in found), encoding="utf-8"
        )


def _nearest(folder: Path) -> Path:
    return folder if folder.is_dir() else _nearest(folder.parent)


def git(folder: Path, *arguments: str) -> str:
    """Run a git command and return its output.

    Raises:
        GitError: It failed; the message is git's.
    """
    answer = subprocess.run(["git", *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if answer.returncode:
        said = failure(("git", *arguments), answer.returncode, answer.stderr)
        raise GitError(f"in {folder.resolve()}, {said}")
    return answer.stdout
