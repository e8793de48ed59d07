"""The datasets by name, each described once: COCO 2017, 200 images of it, ADE20K, Cityscapes, `mini`, and own data.

To add a dataset, add its description here, and, if its layout is not that of COCO, a package that reads its images
like `panoptic.datasets.cityscapes`.

Every size and SHA-256 is from a table that other projects verify their downloads with:

COCO               tensorflow/datasets, `tensorflow_datasets/url_checksums/coco.txt`
ADE20K, images     huggingface/datasets, `datasets/scene_parse_150/dataset_infos.json`
ADE20K, instances  both: tensorflow/datasets, `tensorflow_datasets/url_checksums/scene_parse150.txt`, has the same

COCO's host supports plain http only (its certificate is that of its storage provider); the checksums make up for it.
Nobody has published checksums of the archives of COCO128. What they are packed from is the repository at the tag of the
release, so the digests of their content are computed from the files there.
The numbers of images are those that cocodataset.org, the scene parsing benchmark of ADE20K, and the README of
cityscapesScripts state.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from panoptic.datasets import layout
from panoptic.datasets.ade20k.layout import CHALLENGE, INSTANCES, find_ade20k_split
from panoptic.datasets.cityscapes import layout as cityscapes
from panoptic.datasets.description import ARCHIVES_FOLDER, Archive, DatasetDescription, TypicalImage
from panoptic.datasets.layout import Part, find_split

if TYPE_CHECKING:
    from panoptic.datasets.coco import ImageSource

_COCO = "http://images.cocodataset.org"
_COCO128 = "https://github.com/lightly-ai/coco128_yolo/releases/download/v0.0.2"
_COCO128_IMAGES, _COCO128_MASKS = "images.zip", f"{ARCHIVES_FOLDER}/panoptic_segmentation.zip"
_COCO128_JSON = "panoptic_segmentation/annotations/panoptic_{split}.json"
_TRAIN_VAL = ("train2017", "val2017")
_TEST = "test2017"
_CITYSCAPES_TEST = "test"


def describe_dataset(name: str) -> DatasetDescription:
    """Return the description of the dataset `name`, which is that of own data if `DATASETS` has no such name."""
    return DATASETS.get(name, _OWN)


# The functions that read images import what they need only when they are called: fetching a dataset needs none of it.


def _coco_source(root: Path, split: str) -> "ImageSource":
    from panoptic.datasets.coco import find_source

    return find_source(root, split)


def _coco128_source(root: Path, split: str) -> "ImageSource":
    from panoptic.datasets.coco import find_images

    images, masks = _coco128_parts(root, split).values()
    listed = root / _COCO128_JSON.format(split=split)
    return find_images(listed, masks.path, images.path, mask_folder=masks.folder, image_folder=images.folder)


def _ade20k_source(root: Path, split: str) -> "ImageSource":
    from panoptic.datasets.ade20k.images import find_source

    return find_source(root, split)


def _cityscapes_source(root: Path, split: str) -> "ImageSource":
    from panoptic.datasets.cityscapes.images import find_source

    return find_source(root, split)


def _coco_parts(root: Path, split: str) -> dict[str, Part]:
    if split == _TEST:
        return {"images": Part(root / f"{split}.zip", suffix=".jpg")}
    files = find_split(root, split)
    return {"images": Part(files.images, suffix=".jpg"), "masks": Part(files.masks, suffix=".png")}


def _coco128_parts(root: Path, split: str) -> dict[str, Part]:
    return {
        "images": Part(root / _COCO128_IMAGES, f"{split}/", ".jpg"),
        "masks": Part(root / _COCO128_MASKS, f"annotations/panoptic_{split}/", ".png"),
    }


def _ade20k_parts(root: Path, split: str) -> dict[str, Part]:
    return dict(vars(find_ade20k_split(root, split)))


def _cityscapes_parts(root: Path, split: str) -> dict[str, Part]:
    if split == _CITYSCAPES_TEST:
        return {"images": cityscapes.images_of(root, split)}
    parts = cityscapes.find_cityscapes_split(root, split)
    cityscapes.find_images(parts)  # names each missing file, where the download stage would only count
    return dict(vars(parts))


def _own_parts(root: Path, split: str) -> dict[str, Part]:
    files = find_split(root, split)
    return {"panoptic_json": Part(files.panoptic_json), "masks": Part(files.masks), "images": Part(files.images)}


_OWN = DatasetDescription(_coco_source, _own_parts, hint=f"expected layout:\n{layout.__doc__}")
DATASETS: Mapping[str, DatasetDescription] = {
    "mini": DatasetDescription(
        _coco_source, _own_parts, hint="fetch the dataset of this repository with: dvc pull data.dvc"
    ),
    "coco": DatasetDescription(
        _coco_source,
        _coco_parts,
        archives=(
            Archive(
                address=f"{_COCO}/annotations/panoptic_annotations_trainval2017.zip",
                bytes=860_725_834,
                sha256="c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
                path=f"{ARCHIVES_FOLDER}/panoptic_annotations_trainval2017.zip",
                splits=_TRAIN_VAL,
                unpacked=("annotations/panoptic_{split}.json", "annotations/panoptic_{split}.zip"),
            ),
            Archive(
                address=f"{_COCO}/annotations/annotations_trainval2017.zip",
                bytes=252_907_541,
                sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
                path=f"{ARCHIVES_FOLDER}/annotations_trainval2017.zip",
                splits=_TRAIN_VAL,
                unpacked=("annotations/instances_{split}.json",),
            ),
            Archive(
                address=f"{_COCO}/annotations/image_info_test2017.zip",
                bytes=1_144_034,
                sha256="e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
                path=f"{ARCHIVES_FOLDER}/image_info_test2017.zip",
                splits=(_TEST,),
                unpacked=("annotations/image_info_{split}.json", "annotations/image_info_test-dev2017.json"),
            ),
            Archive(
                address=f"{_COCO}/zips/val2017.zip",
                bytes=815_585_330,
                sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
                path="val2017.zip",
                splits=("val2017",),
            ),
            Archive(
                address=f"{_COCO}/zips/train2017.zip",
                bytes=19_336_861_798,
                sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
                path="train2017.zip",
                splits=("train2017",),
            ),
            Archive(
                address=f"{_COCO}/zips/test2017.zip",
                bytes=6_646_970_404,
                sha256="c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
                path="test2017.zip",
                splits=(_TEST,),
            ),
        ),
        images={"train2017": 118_287, "val2017": 5_000, _TEST: 40_670},
        test=_TEST,
        typical=TypicalImage(num_things=80, num_stuff=53, height=480, width=640, things=7, stuff=4),
    ),
    # No archive maps the 100 things to the 150 classes: panoptic.datasets.ade20k.things does.
    "ade20k": DatasetDescription(
        _ade20k_source,
        _ade20k_parts,
        draws_masks=True,
        archives=(
            Archive(
                address="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                bytes=967_382_037,
                sha256="7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
                path=CHALLENGE,
                splits=("training", "validation"),
            ),
            Archive(
                address="http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar",
                bytes=90_398_720,
                sha256="5eb0db23c64779bc646ca535a3d495db0a75700b9467f8a79eecaf728b266acd",
                path=f"{ARCHIVES_FOLDER}/annotations_instance.tar",
                splits=("training", "validation"),
                repacked=INSTANCES,
            ),
        ),
        images={"training": 20_210, "validation": 2_000},
        typical=TypicalImage(num_things=100, num_stuff=50, height=512, width=683, things=10, stuff=8),
        marks=(CHALLENGE, Path(CHALLENGE).stem),
    ),
    # Of the first 128 images of each split, 100 have annotations.
    "coco128": DatasetDescription(
        _coco128_source,
        _coco128_parts,
        archives=(
            Archive(
                address=f"{_COCO128}/images.zip",
                bytes=42_183_840,
                sha256=None,
                path=_COCO128_IMAGES,
                splits=_TRAIN_VAL,
                content_sha256="46e22ac46a6ca22db58c5f64a0ac4ec4babc449cc65c3d7db11749203f82f960",
            ),
            Archive(
                address=f"{_COCO128}/panoptic_segmentation.zip",
                bytes=1_370_086,
                sha256=None,
                path=_COCO128_MASKS,
                splits=_TRAIN_VAL,
                unpacked=(_COCO128_JSON,),
                content="annotations/",
                content_sha256="7ad4051a516b7d7f6e2a1905e61d2b2447e6d6772c799d8b6265446c5b237f4b",
            ),
        ),
        images=dict.fromkeys(_TRAIN_VAL, 100),
        partly_annotated=True,
        typical=TypicalImage(num_things=80, num_stuff=53, height=480, width=640, things=7, stuff=4),
        marks=("panoptic_segmentation",),
    ),
    "cityscapes": DatasetDescription(
        _cityscapes_source,
        _cityscapes_parts,
        hint=cityscapes.HINT,
        draws_masks=True,
        images={"train": 2_975, "val": 500, _CITYSCAPES_TEST: 1_525},
        test=_CITYSCAPES_TEST,
        typical=TypicalImage(num_things=8, num_stuff=11, height=1024, width=2048, things=18, stuff=8),
        marks=(cityscapes.IMAGES, cityscapes.ANNOTATIONS),
    ),
}
