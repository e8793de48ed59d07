"""The archives of COCO 2017, COCO128 and ADE20K in their real layouts, with a few small images each.

Same names of files and folders, same fields, same oddities:

COCO    zips in zips, what macOS leaves in them, entries whose sizes come after their content, a number of entries
        that has overflowed (the real `panoptic_train2017.zip` counts its 118 287 PNGs modulo 65 536, so tools that
        trust the count find 52 751); crowds, void, gray images, images without things; in the instance annotations
        polygons, run lengths for crowds, ids of their own
COCO128 both splits in one archive, images without annotation, a README and settings beside the annotations
ADE20K  classes from 1, 0 for other; things numbered from 1 to 100 in red and instances in green; instances that
        reach over their class into stuff, things without an instance, gaps in the numbers, images without
        instances, gray images; spaces in `objectInfo150.txt` where none should be

`tests/fixtures/ade20k/objectInfo150.txt` is that of CSAILVision/sceneparsing, which is the one in the archive.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.format.segments import SegmentLabel
from tests.archive_files import jpeg, json_bytes, overflowing_zip, png, write_tar, write_zip
from tests.coco_documents import image_list, instances, panoptic, thing_categories
from tests.tiny_dataset import TinyImage

OBJECT_INFO = Path(__file__).parent / "fixtures" / "ade20k" / "objectInfo150.txt"
PERSON, CAR, SKY, GRASS = 1, 3, 187, 193
COCO_COUNTS = {"train2017": 4, "val2017": 3, "test2017": 2}
COCO128_COUNTS = {"train2017": 4, "val2017": 3}
COCO128_UNANNOTATED = 2
ADE20K_COUNTS = {"training": 4, "validation": 3}
# Things of ADE20K by their number, with their class: bed, person, car, flag.
ADE20K_THINGS = {1: 8, 4: 13, 9: 21, 100: 150}
_ADE20K_SKY, _ADE20K_FLOOR = 3, 4
_ADE20K_STEMS = {"training": "ADE_train", "validation": "ADE_val"}


@dataclass(frozen=True)
class Ade20kImage:
    """One image: (H,W,3) image, (H,W) classes (0: other), and of the instances thing (0: none) and number."""

    stem: str
    image: NDArray[np.uint8]
    semantic: NDArray[np.uint8]
    things: NDArray[np.uint8]
    numbers: NDArray[np.uint8]


def write_coco_archives(folder: Path, seed: int) -> dict[str, list[TinyImage]]:
    """Write COCO's six archives into `folder`; returns the images of each split.

    Those of test2017 have no segments. The first image of a split is gray, the second has things, a crowd and void,
    the third stuff only. Equal seeds give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    splits = {
        split: [_coco_image(rng, 1000 * place + 139 + number, number, split != "test2017") for number in range(count)]
        for place, (split, count) in enumerate(COCO_COUNTS.items())
    }
    for split, images in splits.items():
        jpegs = {f"{split}/{image.image_id:012}.jpg": jpeg(image.image) for image in images}
        write_zip(folder / f"{split}.zip", {f"{split}/": b""} | jpegs, zipfile.ZIP_STORED)
    panoptic_files, instance_files = {}, {}
    for split in ("train2017", "val2017"):
        panoptic_files[f"annotations/panoptic_{split}.json"] = json_bytes(panoptic(splits[split]))
        panoptic_files[f"annotations/panoptic_{split}.zip"] = _nested_zip(split, splits[split])
        instance_files[f"annotations/instances_{split}.json"] = json_bytes(instances(splits[split]))
        for kind in ("captions", "person_keypoints"):
            instance_files[f"annotations/{kind}_{split}.json"] = json_bytes(
                {**image_list(splits[split], 2017), "annotations": []}
            )
    write_zip(folder / "panoptic_annotations_trainval2017.zip", {"annotations/": b""} | panoptic_files)
    write_zip(folder / "annotations_trainval2017.zip", instance_files)
    test = json_bytes({**image_list(splits["test2017"], 2017), "categories": thing_categories()})
    names = ("annotations/image_info_test2017.json", "annotations/image_info_test-dev2017.json")
    write_zip(folder / "image_info_test2017.zip", dict.fromkeys(names, test))
    return splits


def write_coco128_archives(folder: Path, seed: int) -> dict[str, list[TinyImage]]:
    """Write the two archives of COCO128 into `folder`; returns the annotated images of each split.

    Each split has `COCO128_UNANNOTATED` more, after the others. Equal seeds give equal bytes.
    """
    rng = np.random.default_rng(seed)
    splits: dict[str, list[TinyImage]] = {}
    photographs: dict[str, dict[str, bytes]] = {}
    for place, (split, count) in enumerate(COCO128_COUNTS.items()):
        drawn = [_coco_image(rng, 1000 * place + number, number, True) for number in range(count + COCO128_UNANNOTATED)]
        photographs[split] = {f"{image.image_id:012}.jpg": jpeg(image.image) for image in drawn}
        splits[split] = drawn[:count]
    documents = {split: json_bytes(panoptic(images)) for split, images in splits.items()}
    masks = {
        split: {f"{image.image_id:012}.png": _id_png(image) for image in images} for split, images in splits.items()
    }
    pack_coco128(folder, photographs, documents, masks)
    return splits


def pack_coco128(
    folder: Path,
    photographs: Mapping[str, Mapping[str, bytes]],
    documents: Mapping[str, bytes],
    masks: Mapping[str, Mapping[str, bytes]],
) -> None:
    """Pack the files of each split by name, and its panoptic JSON, as the release has them: without folder entries."""
    folder.mkdir(parents=True, exist_ok=True)
    images = {f"images/{split}/{name}": data for split, files in photographs.items() for name, data in files.items()}
    write_zip(folder / "images.zip", images)
    top = "panoptic_segmentation"
    others = {f"{top}/README.md": b"# Panoptic segmentation\n", f"{top}/config.yaml": b"train: {}\n"}
    for split, document in documents.items():
        stem = f"{top}/annotations/panoptic_{split}"
        others |= {f"{stem}.json": document} | {f"{stem}/{name}": data for name, data in masks[split].items()}
    write_zip(folder / f"{top}.zip", others)


def write_ade20k_archives(folder: Path, seed: int) -> dict[str, list[Ade20kImage]]:
    """Write ADE20K's two archives into `folder`; returns the images of each split.

    The first image of a split is gray, the second has every oddity, the third no instances. Equal seeds give equal
    bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    splits = {
        split: [_ade20k_image(rng, f"{_ADE20K_STEMS[split]}_{number + 1:08}", number) for number in range(count)]
        for split, count in ADE20K_COUNTS.items()
    }
    top = "ADEChallengeData2016"
    challenge = {f"{top}/": b"", f"{top}/objectInfo150.txt": OBJECT_INFO.read_bytes()}
    scenes, instance_files = [], {}
    for split, images in splits.items():
        for image in images:
            challenge[f"{top}/annotations/{split}/{image.stem}.png"] = png(image.semantic)
            challenge[f"{top}/images/{split}/{image.stem}.jpg"] = jpeg(image.image)
            channels = (image.things, image.numbers, np.zeros_like(image.things))
            instance_files[f"annotations_instance/{split}/{image.stem}.png"] = png(np.stack(channels, axis=-1))
            scenes.append(f"{image.stem} airport_terminal\n")
    challenge[f"{top}/sceneCategories.txt"] = "".join(scenes).encode()
    write_zip(folder / f"{top}.zip", challenge)
    write_tar(folder / "annotations_instance.tar", instance_files)
    return splits


def _coco_image(rng: np.random.Generator, image_id: int, number: int, annotated: bool) -> TinyImage:
    """Sky over grass; the things are rectangles beside each other, so that polygons say exactly what they cover."""
    height, width = 40 + 4 * number, 56 - 4 * number
    ids = np.zeros((height, width), np.int32)
    keys = (1 + rng.choice((1 << 24) - 1, size=6, replace=False)).tolist()
    labels: list[SegmentLabel] = []

    def draw(rows: slice, columns: slice, category: int, is_crowd: bool = False) -> None:
        labels.append(SegmentLabel(keys[len(labels)], category, is_crowd))
        ids[rows, columns] = labels[-1].id

    if annotated:
        draw(slice(height // 2), slice(None), SKY)
        draw(slice(height // 2, None), slice(None), GRASS)
        ids[-3:, :9] = 0
    if annotated and number % 3 < 2:
        left = int(rng.integers(2, 6))
        draw(slice(8, 20), slice(left, left + 7), PERSON)
        draw(slice(8, 20), slice(left + 7, left + 13), PERSON)
        draw(slice(height - 13, height - 6), slice(22, 22 + int(rng.integers(8, 14))), CAR)
    if annotated and number % 3 == 1:
        draw(slice(2, 6), slice(width - 20, width - 2), PERSON, is_crowd=True)
    return TinyImage(image_id, _photograph(rng, ids, gray=number == 0), ids, tuple(labels))


def _ade20k_image(rng: np.random.Generator, stem: str, number: int) -> Ade20kImage:
    height, width = 40 + 4 * number, 60 - 4 * number
    semantic = np.full((height, width), _ADE20K_SKY, np.uint8)
    semantic[height // 2 :] = _ADE20K_FLOOR
    semantic[:3, :11] = 0
    things, numbers = np.zeros_like(semantic), np.zeros_like(semantic)

    def draw(thing: int, instance: int, rows: slice, columns: slice) -> None:
        semantic[rows, columns] = ADE20K_THINGS[thing]
        things[rows, columns], numbers[rows, columns] = thing, instance

    if number % 3 < 2:
        left = int(rng.integers(2, 6))
        draw(4, 1, slice(8, 20), slice(left, left + 7))
        draw(4, 2, slice(8, 20), slice(left + 7, left + 13))
        draw(9, 5, slice(height - 13, height - 6), slice(22, 22 + int(rng.integers(8, 14))))
    if number % 3 == 1:
        draw(1, 7, slice(height - 5, height - 1), slice(2, 12))
        draw(100, 4, slice(4, 8), slice(width - 12, width - 6))
        things[8, width - 12 : width - 6], numbers[8, width - 12 : width - 6] = 100, 4  # over the sky below the flag
        semantic[height - 4 : height - 2, width - 8 : width - 4] = ADE20K_THINGS[9]  # a car that is no instance
    return Ade20kImage(stem, _photograph(rng, semantic, gray=number == 0), semantic, things, numbers)


def _photograph(rng: np.random.Generator, regions: NDArray[np.generic], gray: bool) -> NDArray[np.uint8]:
    """(H,W,3) image: each region has a color of its own, with some noise."""
    _, index = np.unique(regions, return_inverse=True)
    colors = rng.integers(30, 226, size=(int(index.max()) + 1, 3))
    image = colors[index.reshape(regions.shape)] + rng.integers(-20, 21, size=(*regions.shape, 3))
    shown: NDArray[np.uint8] = (image[..., :1].repeat(3, axis=-1) if gray else image).astype(np.uint8)
    return shown


def _nested_zip(split: str, images: Sequence[TinyImage]) -> bytes:
    """`panoptic_<split>.zip` as macOS writes it: sizes after the contents, and a count that has overflowed."""
    stem = f"panoptic_{split}"
    pngs = {f"{stem}/{image.image_id:012}.png": _id_png(image) for image in images}
    litter = {"__MACOSX/": b"", f"__MACOSX/._{stem}": b"\0\x05\x16\x07\0\x02\0\0Mac OS X"}
    return overflowing_zip({f"{stem}/": b""} | pngs | litter)


def _id_png(image: TinyImage) -> bytes:
    return png(np.stack([image.ids >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8))
