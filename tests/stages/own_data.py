"""A small dataset of a user whose files can be renamed, and the commands that read it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic.data.reader import PanopticReader
from panoptic.index import PanopticIndex
from panoptic.tools import unlabeled
from stages import annotate, download, evaluate
from tests.tiny_dataset import CATEGORIES, TinyImage, random_images, write_split


class OwnData:
    """A dataset in `own` with one split, `val`, whose files can be renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "own"
        self.drawn = random_images(seed=1, count=2)
        self.files = write_split(self.root, "val", self.drawn)

    def rename(self, in_json: str, on_disk: str) -> None:
        document = json.loads(self.files.panoptic_json.read_text())
        for entry in (*document["images"], *document["annotations"]):
            for part in (self.files.images, self.files.masks):
                old, new = part / entry["file_name"], part / on_disk.format(entry["file_name"])
                if old.exists() and old != new:
                    new.parent.mkdir(exist_ok=True)
                    old.rename(new)
            entry["file_name"] = in_json.format(entry["file_name"])
        self.files.panoptic_json.write_text(json.dumps(document))

    def pack(self) -> None:
        """Replace both folders by archives."""
        for part in (self.files.images, self.files.masks):
            with zipfile.ZipFile(part.with_name(f"{part.name}.zip"), "w") as archive:
                for file in sorted(part.rglob("*")):
                    if file.is_file():
                        archive.write(file, file.relative_to(part).as_posix())
            shutil.rmtree(part)

    def annotate(self, split: str = "val") -> PanopticIndex:
        params = self.folder / "params.yaml"
        dataset = f"{{name: own, root: {self.root}, train: {split}, val: {split}}}"
        params.write_text(f"dataset: {dataset}\ndownload: {{published: false}}\nannotate: {{workers: 0}}\n")
        common = ["--params", str(params), "--manifest", str(self.folder / "manifest.json")]
        download.main(common)
        annotate.main([*common, "--state", str(self.folder / "state"), "--output", str(self.folder / "out")])
        return PanopticIndex.load(self.folder / "out" / "val.index")

    def evaluate(self) -> float:
        """The PQ of the ground truth against itself."""
        parts = str(self.files.panoptic_json), str(self.files.masks)
        metrics = self.folder / "metrics.json"
        options = ("--ground-truth-json", "--ground-truth-folder", "--predictions-json", "--predictions-folder")
        pairs = zip(options, (*parts, *parts), strict=True)
        evaluate.main([*(item for pair in pairs for item in pair), "--metrics", str(metrics), "--bootstrap", "0"])
        return float(json.loads(metrics.read_text())["pq"]["all"])


def fails(command: Callable[[], object], status: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with an exit status; returns what it printed."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == status
    output = capsys.readouterr()
    return output.out + output.err


def assert_equal(index: PanopticIndex, drawn: list[TinyImage]) -> None:
    reader = PanopticReader(index)
    for record, image in zip(index.records, drawn, strict=True):
        sample = reader.sample(record)
        assert np.array_equal(sample.image, image.image)
        assert np.array_equal(sample.ids, image.ids)


def index_unlabeled(folder: Path, images: Path, *options: str) -> PanopticIndex:
    out = folder / "new.index"
    unlabeled.main([*unlabeled_options(folder, images, out), *options])
    return PanopticIndex.load(out)


def unlabeled_options(folder: Path, images: Path, out: Path) -> list[str]:
    categories = folder / "categories.json"
    categories.write_text(json.dumps(CATEGORIES))
    return ["--images", str(images), "--categories", str(categories), "--out", str(out)]
