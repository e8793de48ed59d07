"""A copy of a run to tamper with, and the careful forger's tool: all digests computed anew."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic.passport.digests import digest_of, digest_split
from panoptic.passport.document import Passport, read_passport, seal, write_passport
from panoptic.passport.training import describe_splits
from tests.model.verify.small_runs import run_stage

Json = Any
Change = Callable[[Json], None]


@dataclass(frozen=True)
class Forgery:
    """The `folder` of a copied run; `other` is a run with another seed, `repository` has the code of both."""

    folder: Path
    other: Path
    repository: Path
    earlier_commit: str
    keys: Path

    @classmethod
    def copy(cls, run: Path, folder: Path, other: Path, earlier_commit: str, keys: Path) -> "Forgery":
        for name in ("runs", "datasets"):
            shutil.copytree(run / name, folder / name)
        return cls(folder, other, run, earlier_commit, keys)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def passports(self) -> tuple[Path, Path]:
        """The files of the weights' passport and of the results'."""
        return self.runs / "train/model.passport.json", self.runs / "passport.json"

    def edit(self, name: str, change: Change) -> None:
        """Change a JSON file below `runs`."""
        path = self.runs / name
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    def edit_sections(self, change: Change) -> None:
        """Change sections of the weights' passport, and of its copy in that of the results, and nothing else."""
        self.edit("train/model.passport.json", lambda passport: change(passport["sections"]))
        self.edit("passport.json", lambda passport: change(passport["parent"]["sections"]))

    def flip(self, name: str, position: int = -5) -> None:
        """Change one bit of a file below the folder."""
        path = self.folder / name
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    def take(self, *names: str) -> None:
        """Replace files below `runs` by those of the other run."""
        for name in names:
            shutil.copyfile(self.other / "runs" / name, self.runs / name)

    def score_again(self) -> None:
        """Evaluate the predictions, so that all scores fit them."""
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copyfile(self.repository / name, self.folder / name)
        run_stage(self.folder, "evaluate", variables={"PYTHONPATH": str(self.repository)})

    def reseal(self, weights: Change = lambda _: None, results: Change = lambda _: None, data: bool = False) -> None:
        """Compute all digests and chains anew, after a change of the sections of both passports.

        `data`: also of the dataset, without admitting that images are in both splits.
        """
        of_weights, of_results = map(read_passport, self.passports)
        sections = self._with_files(of_weights, self.passports[0].parent)
        if data:
            splits = {name: digest_split(self.runs / "annotate" / f"{name}.index") for name in ("train", "val")}
            names = {f"{name}.index": f"runs/annotate/{name}.index" for name in splits}
            entries = [split.data(name) for name, split in splits.items()]
            sections["data"] = {what: value for entry in entries for what, value in entry.items()}
            for name in splits:
                sections["data"][f"{name} index"]["path"] = names[f"{name}.index"]
            sections["splits"] = {**describe_splits(splits), "shared_images": 0}
        weights(sections)
        sealed = seal("weights", sections)
        write_passport(self.passports[0], sealed)
        sections = self._with_files(of_results, self.passports[1].parent)
        sections["metrics"] = {"scores/metrics.json": json.loads((self.runs / "evaluate/metrics.json").read_text())}
        results(sections)
        write_passport(self.passports[1], seal("results", sections, sealed))

    @staticmethod
    def _with_files(passport: Passport, folder: Path) -> Json:
        sections: Mapping[str, Json] = json.loads(json.dumps(dict(passport.sections)))
        for entry in sections["files"].values():
            entry["sha256"] = digest_of(folder / entry["path"])
        return dict(sections)
