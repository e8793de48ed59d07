"""Where the parts of a dataset lie: the layout of COCO, each part a folder or a zip file.

<root>/<split>/ or <root>/<split>.zip                                              images
<root>/annotations/panoptic_<split>.json                                           segments and categories
<root>/annotations/panoptic_<split>/ or <root>/annotations/panoptic_<split>.zip    panoptic PNGs
<root>/annotations/instances_<split>.json                                          instances, if it has a list of them
"""

from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.files import folder_or_archive, open_files

# Other forms in which ADE20K comes, by what shows them: other classes, or other files.
_OTHER_ADE20K = {
    "ADEChallengeData2016": "an unpacked archive",
    "ADE20K_20*": "the full ADE20K",
    "index_ade20k.*": "the full ADE20K",
    "*.parquet": "tables",
}


@dataclass(frozen=True)
class DatasetSettings:
    """Which dataset: its name, its folder, and the splits to learn from and to be scored on.

    `coco` (splits train2017, val2017) and `ade20k` (training, validation) are fetched; `mini` comes with the
    repository; any other name stands for own data in the layout above.
    """

    name: str = "mini"
    root: str = "data/mini"
    train: str = "train"
    val: str = "val"


@dataclass(frozen=True)
class SplitFiles:
    """The parts of one split."""

    panoptic_json: Path
    masks: Path
    images: Path
    instances: Path | None = None


def find_split(root: Path, split: str) -> SplitFiles:
    """The parts of a split below `root`. Raises `DatasetError` that lists every part that is missing."""
    annotations = root / "annotations"
    panoptic_json = annotations / f"panoptic_{split}.json"
    masks, images = folder_or_archive(annotations / f"panoptic_{split}"), folder_or_archive(root / split)
    missing = [str(panoptic_json)] if not panoptic_json.is_file() else []
    missing += [f"{path} (folder or .zip)" for path in (masks, images) if not path.exists()]
    if missing:
        raise DatasetError(f"{root}: split '{split}' is incomplete; missing: {', '.join(missing)}")
    instances = annotations / f"instances_{split}.json"
    return SplitFiles(panoptic_json, masks, images, instances if instances.is_file() else None)


@dataclass(frozen=True)
class Part:
    """Files in an archive or a folder: those whose names begin with `folder` and end with `suffix`."""

    path: Path
    folder: str = ""
    suffix: str = ""

    def names(self) -> tuple[str, ...]:
        """Their names, sorted, as `open_files(path)` reads them; none that an operating system has left behind."""
        names = (name for name in open_files(self.path).names() if name.startswith(self.folder))
        return tuple(name for name in names if name.endswith(self.suffix) and not is_litter(name))


@dataclass(frozen=True)
class Ade20kSplit:
    """The parts of one split of ADE20K, read in place; their files have the same stems.

    `semantic` are PNGs of one channel: 0 is other, 1 to 150 the classes. `instances` are RGB PNGs: red is the thing,
    1 to 100 (0: none), green the instance, from 1 in each image; `panoptic.datasets.ade20k.things` tells which class
    a thing is. A few of the `images`, JPEGs, are gray.
    """

    images: Part
    semantic: Part
    instances: Part


def find_ade20k_split(root: Path, split: str) -> Ade20kSplit:
    """The parts of 'training' or 'validation'. Raises `DatasetError` that lists every archive that is missing."""
    challenge, instances = root / "ADEChallengeData2016.zip", root / "annotations_instance.zip"
    missing = [str(path) for path in (challenge, instances) if not path.is_file()]
    if missing:
        forms = [f"{found.name} ({form})" for pattern, form in _OTHER_ADE20K.items() for found in root.glob(pattern)]
        found = f"; {', '.join(forms[:3])} is there, but not what the benchmark is made of" if forms else ""
        raise DatasetError(
            f"{root}: ADE20K is incomplete; missing: {', '.join(missing)}{found}; run: dvc repro download"
        )
    return Ade20kSplit(
        images=Part(challenge, f"images/{split}/", ".jpg"),
        semantic=Part(challenge, f"annotations/{split}/", ".png"),
        instances=Part(instances, f"{split}/", ".png"),
    )


def is_litter(name: str) -> bool:
    """Whether a file in an archive is none of the data, but what an operating system leaves behind."""
    folders = name.split("/")
    return folders[-1].startswith("._") or folders[-1] in (".DS_Store", "Thumbs.db") or "__MACOSX" in folders
