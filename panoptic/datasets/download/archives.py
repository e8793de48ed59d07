"""The public archives of COCO 2017 and ADE20K: where they are published, their sizes and checksums, what they hold.

Nothing here is guessed. Every size and SHA-256 stands in a table that others check their downloads against:

COCO               tensorflow/datasets, `tensorflow_datasets/url_checksums/coco.txt`
ADE20K, images   huggingface/datasets, `datasets/scene_parse_150/dataset_infos.json`
ADE20K, instances  both: tensorflow/datasets, `tensorflow_datasets/url_checksums/scene_parse150.txt`, has the same

COCO's host answers plain http only (its certificate is that of its storage provider); the checksums make up for it.
The numbers of images are those that cocodataset.org and the scene parsing benchmark of ADE20K state.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from panoptic.io.errors import DatasetError

# Below a dataset's root: archives that are only unpacked, and the records of what was verified.
ARCHIVES_FOLDER = "archives"
# So many bytes at the beginning of a file show what kind of archive it is. An empty zip file begins with its end.
HEAD = 512
_MAGIC = {".zip": (0, (b"PK\x03\x04", b"PK\x05\x06")), ".tar": (257, (b"ustar",))}
_COCO = "http://images.cocodataset.org"
_TRAIN_VAL = ("train2017", "val2017")


@dataclass(frozen=True)
class Archive:
    """One published file.

    `place` is where it lies below the dataset's root. `splits` are those it has files of, and a run without any of
    them does not need it. `unpacked` are the entries that are taken out of a zip, to the same name below the root,
    where `{split}` stands for each split in use. `repacked` is the zip file that a tar archive becomes, because a tar
    archive has no index to read single files by.
    """

    address: str
    bytes: int
    sha256: str
    place: str
    splits: tuple[str, ...]
    unpacked: tuple[str, ...] = ()
    repacked: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.place).name

    def outputs(self, splits: Iterable[str]) -> tuple[str, ...]:
        """The files below the root that come out of it for `splits`; none where it is read in place."""
        if self.repacked:
            return (self.repacked,)
        names = [entry.format(split=split) for split in splits if split in self.splits for entry in self.unpacked]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class PublicDataset:
    """The archives of one dataset, and how many images each of its splits has.

    `test` is the split without annotations, which is fetched on request only; None where there is none.
    """

    archives: tuple[Archive, ...]
    images: Mapping[str, int]
    test: str | None = None

    def needed(self, splits: Iterable[str]) -> tuple[Archive, ...]:
        """The archives that `splits` need. Raises `DatasetError` for a split that does not exist."""
        wanted = set(splits)
        unknown = sorted(wanted - self.images.keys())
        if unknown:
            raise DatasetError(f"no split {', '.join(unknown)}; there are: {', '.join(self.images)}")
        return tuple(archive for archive in self.archives if wanted.intersection(archive.splits))


PUBLIC_DATASETS: Mapping[str, PublicDataset] = {
    "coco": PublicDataset(
        archives=(
            Archive(
                address=f"{_COCO}/annotations/panoptic_annotations_trainval2017.zip",
                bytes=860_725_834,
                sha256="c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
                place=f"{ARCHIVES_FOLDER}/panoptic_annotations_trainval2017.zip",
                splits=_TRAIN_VAL,
                unpacked=("annotations/panoptic_{split}.json", "annotations/panoptic_{split}.zip"),
            ),
            Archive(
                address=f"{_COCO}/annotations/annotations_trainval2017.zip",
                bytes=252_907_541,
                sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                place=f"{ARCHIVES_FOLDER}/annotations_trainval2017.zip",
                splits=_TRAIN_VAL,
                unpacked=("annotations/instances_{split}.json",),
            ),
            Archive(
                address=f"{_COCO}/annotations/image_info_test2017.zip",
                bytes=1_144_034,
                sha256="e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
                place=f"{ARCHIVES_FOLDER}/image_info_test2017.zip",
                splits=("test2017",),
                unpacked=("annotations/image_info_{split}.json", "annotations/image_info_test-dev2017.json"),
            ),
            Archive(
                address=f"{_COCO}/zips/val2017.zip",
                bytes=815_585_330,
                sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                place="val2017.zip",
                splits=("val2017",),
            ),
            Archive(
                address=f"{_COCO}/zips/train2017.zip",
                bytes=19_336_861_798,
                sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                place="train2017.zip",
                splits=("train2017",),
            ),
            Archive(
                address=f"{_COCO}/zips/test2017.zip",
                bytes=6_646_970_404,
                sha256="c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
                place="test2017.zip",
                splits=("test2017",),
            ),
        ),
        images={"train2017": 118_287, "val2017": 5_000, "test2017": 40_670},
        test="test2017",
    ),
    # No archive maps the 100 things to the 150 classes: panoptic.datasets.ade20k.things does.
    "ade20k": PublicDataset(
        archives=(
            Archive(
                address="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                bytes=967_382_037,
                sha256="7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
                place="ADEChallengeData2016.zip",
                splits=("training", "validation"),
            ),
            Archive(
                address="http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar",
                bytes=90_398_720,
                sha256="5eb0db23c64779bc646ca535a3d495db0a75700b9467f8a79eecaf728b266acd",
                place=f"{ARCHIVES_FOLDER}/annotations_instance.tar",
                splits=("training", "validation"),
                repacked="annotations_instance.zip",
            ),
        ),
        images={"training": 20_210, "validation": 2_000},
    ),
}


def other_content(head: bytes, name: str) -> str:
    """What a file is instead of the archive that its `name` promises, in words; '' where it is one.

    `head` are its first `HEAD` bytes. A login page, or one that regrets, often comes in place of a file.
    """
    offset, beginnings = _MAGIC[PurePosixPath(name).suffix]
    if head[offset:].startswith(beginnings):
        return ""
    text = head.decode("latin-1")
    kind = "a web page" if re.search(r"<(!doctype )?html", text, re.IGNORECASE) else "something else"
    words = " ".join(re.sub(r"<[^>]*>|[^ -~]+", " ", text).split())
    return f"{kind} in place of the archive: '{words[:80]}'"
