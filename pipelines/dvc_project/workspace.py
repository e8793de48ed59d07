"""A folder for one trial of a sweep: a clone of the checkout with its own settings and the checkout's DVC cache.

`dvc exp run --temp` and DVC's queue make such folders too, but without what git ignores (datasets, compiled code) and
without a place that outlives a killed run, from which the training could go on.
"""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.dvc_project.project import DvcProject
from pipelines.process.run import Show

# What git ignores and stages need, as seen from the checkout. What they write (runs/) is the trial's own.
LINKED = ("datasets", "pretrained", "panoptic/*/_*.so", "panoptic/*/_*.pyd", "model/ops/_*.so", "model/ops/_*.pyd")


class GitError(ValueError):
    """A git command that failed, or a checkout in a state that trials cannot start from."""


@dataclass(frozen=True)
class Checkout:
    """The git repository, with a DVC project at its top, whose commit the trials run."""

    folder: Path

    def commit(self) -> str:
        """The commit that is checked out."""
        return git(self.folder, "rev-parse", "HEAD").strip()

    def require_committed(self) -> None:
        """Raise `GitError` if a file that git knows, other than params.yaml, is not as in the commit."""
        lines = git(self.folder, "status", "--porcelain", "--untracked-files=no").splitlines()
        changed = [line[3:] for line in lines if line[3:] != "params.yaml"]
        if changed:
            raise GitError(
                f"changed and not committed: {', '.join(changed)}; the trials run what is committed, with the settings"
                " of params.yaml as it is now: commit the changes or take them back"
            )

    def experiments(self) -> frozenset[str]:
        """The names of DVC's experiments on the commit."""
        prefix = self.experiment("")
        references = git(self.folder, "for-each-ref", "--format=%(refname)", prefix).split()
        return frozenset(reference.removeprefix(prefix) for reference in references)

    def experiment(self, name: str) -> str:
        """Where git keeps an experiment of DVC's on the commit."""
        commit = self.commit()
        return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"

    def cache(self) -> Path:
        """The folder of DVC's cache."""
        return self.folder.joinpath(DvcProject(self.folder).dvc("cache", "dir").strip()).resolve()


@dataclass(frozen=True)
class Workspace:
    """A clone of `checkout` in `folder`; stays until it is removed, so that a stopped trial goes on from its state."""

    checkout: Checkout
    folder: Path

    def prepare(self, parameters: Path, cache: Path) -> None:
        """Make the clone, or take the one that a stopped trial left, and give it its settings.

        Raises:
            CommandError, GitError: git or DVC failed.
        """
        if not self._is_of(self.checkout.commit()):
            self.remove()
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            source = self.checkout.folder.resolve()
            git(self.checkout.folder, "clone", "--quiet", "--shared", str(source), str(self.folder.resolve()))
        git(self.folder, "reset", "--quiet", "--hard")  # DVC keeps changes elsewhere while it runs; a kill loses them
        for key, fallback in (("user.name", "sweep"), ("user.email", "sweep@localhost")):
            if not git(self.folder, "config", "--default", "", "--get", key).strip():
                git(self.folder, "config", key, fallback)
        (self.folder / ".dvc" / "config.local").write_text(f'[cache]\n    dir = "{cache}"\n')
        self._link()
        if files := git(self.folder, "ls-files", "*.dvc").splitlines():
            DvcProject(self.folder).dvc("checkout", "--quiet", *files)
        shutil.copyfile(parameters, self.folder / "params.yaml")

    def run(self, name: str, stages: Sequence[str], show: Show) -> None:
        """Run the experiment and hand it to the checkout.

        Raises:
            CommandError, GitError: a stage failed, or DVC or git did.
        """
        clone = Checkout(self.folder)
        if name not in clone.experiments():  # else it was stopped before it could be handed over
            DvcProject(self.folder).run_experiment(name, stages, show)
        reference = clone.experiment(name)
        git(self.folder, "push", "--quiet", "origin", f"{reference}:{reference}")

    def remove(self) -> None:
        """Remove the folder. What the experiment has given is in the checkout and in its cache."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _is_of(self, commit: str) -> bool:
        # A clone that was stopped half-way has no HEAD that can be read.
        top = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"], cwd=_nearest(self.folder), capture_output=True, text=True
        )
        return top.returncode == 0 and top.stdout.splitlines() == [str(self.folder.resolve()), commit]

    def _link(self) -> None:
        source = self.checkout.folder.resolve()
        found = [path.relative_to(source) for pattern in LINKED for path in sorted(source.glob(pattern))]
        for path in found:
            link = self.folder / path
            if not (link.exists() or link.is_symlink()):
                link.symlink_to(source / path)
        # `/datasets/` in .gitignore is a folder, not a link.
        (self.folder / ".git" / "info" / "exclude").write_text("".join(f"/{path.as_posix()}\n" for path in found))


def _nearest(folder: Path) -> Path:
    return folder if folder.is_dir() else _nearest(folder.parent)


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        GitError: it failed; the message is git's.
    """
    answer = subprocess.run(["git", *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if answer.returncode:
        what = f"`git {' '.join(arguments)}` failed in {folder.resolve()}"
        raise GitError(f"{what}: {answer.stderr.strip()}")
    return answer.stdout
