"""Cityscapes in its official layout: equal to cityscapesScripts' own conversion, and every issue named."""

import json
import pickle
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.cityscapes.images import CityscapesInspector, find_source
from panoptic.datasets.cityscapes.labels import CATEGORIES
from panoptic.datasets.cityscapes.layout import find_cityscapes_split, find_images
from panoptic.datasets.coco import VerifiedImage
from panoptic.format.id_map import decode_id_map, ids_to_rgb
from panoptic.io.errors import DatasetError
from tests.archive_files import png
from tests.drawn_cityscapes import HEIGHT, STEMS, WIDTH, draw_instances, labels_of, write_cityscapes
from tests.panoptic.datasets.cityscapes.record_reference import RECORDED

STEM = STEMS["train"][0]
IMAGE = f"leftImg8bit/train/{STEM}_leftImg8bit.png"
INSTANCES, LABELS = (f"gtFine/train/{STEM}_gtFine_{part}Ids.png" for part in ("instance", "label"))
REFERENCE = json.loads(RECORDED.read_text())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cityscapes(tmp_path / "cityscapes")


def _made(root: Path, split: str) -> list[VerifiedImage]:
    return [verify() for verify in find_source(root, split).verifiers]


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_equal_the_official_conversion(root: Path, split: str) -> None:
    """Ids of images, names of PNGs, segments in order with every field, and every pixel."""
    expected, made = REFERENCE[split], _made(root, split)
    annotations = [
        {
            "image_id": image.record.image_id,
            "file_name": image.record.mask_name,
            "segments_info": [segment.to_json() for segment in image.record.segments],
        }
        for image in made
    ]
    assert annotations == expected["annotations"]
    sizes = [{key: image[key] for key in ("id", "width", "height")} for image in expected["images"]]
    assert sizes == [
        {"id": image.record.image_id, "width": image.record.width, "height": image.record.height} for image in made
    ]
    pixels = {image.record.mask_name: sha256(ids_to_rgb(image.ids).tobytes()).hexdigest() for image in made}
    assert pixels == expected["pixels"]
    for image in made:
        assert image.png is not None
        np.testing.assert_array_equal(decode_id_map(image.png, "image"), image.ids)


def test_categories_equal_the_official_ones(root: Path) -> None:
    assert sorted(CATEGORIES.to_json(), key=lambda entry: str(entry["name"])) == sorted(
        REFERENCE["train"]["categories"], key=lambda entry: str(entry["name"])
    )
    assert [category.name for category in CATEGORIES.things] == [
        *("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    ]
    assert len(CATEGORIES.stuff) == 11
    assert find_source(root, "val").categories == CATEGORIES


def test_the_first_image_has_every_rule(root: Path) -> None:
    """All 34 labels are drawn: 15 are void, 11 are stuff, 8 are groups of things; 11 of 13 instances are evaluated."""
    record = _made(root, "train")[0].record
    assert (record.image_id, record.file_name) == ("aachen_000000_000019", f"{STEM}_leftImg8bit.png")
    segments = {segment.id: segment for segment in record.segments}
    assert len(segments) == 11 + 8 + 11
    assert [identity for identity, segment in segments.items() if segment.is_crowd] == [*range(24, 29), 31, 32, 33]
    assert (segments[26_002].category_id, segments[33_999].category_id, segments[7].category_id) == (26, 33, 7)
    assert not {0, 1, 6, 9, 16, 29, 30, 29_000, 30_000} & segments.keys()


def test_the_reference_recorded_every_rule() -> None:
    segments = [segment for entry in REFERENCE["train"]["annotations"] for segment in entry["segments_info"]]
    assert {segment["category_id"] for segment in segments} == {category.id for category in CATEGORIES}
    assert {segment["iscrowd"] for segment in segments} == {0, 1}


def test_an_image_is_the_same_in_another_process(root: Path) -> None:
    inspect = CityscapesInspector(find_cityscapes_split(root, "train"))
    other = pickle.loads(pickle.dumps(inspect))
    assert len(pickle.dumps(inspect)) < 1000, "the list of all images does not go with each"
    assert (other(STEM).record, other(STEM).png) == (inspect(STEM).record, inspect(STEM).png)


def _gray(value: int, dtype: type[np.uint8 | np.uint16]) -> bytes:
    return png(np.full((HEIGHT, WIDTH), value, dtype))


def _shifted(columns: int) -> bytes:
    return png(np.roll(labels_of(draw_instances(0)), columns, axis=1))


ISSUES: dict[str, tuple[str, bytes, str]] = {
    "unknown label": (LABELS, _gray(34, np.uint8), "unknown label ids 34; expected 0 to 33"),
    "label of license plates": (LABELS, _gray(255, np.uint8), "unknown label ids 255;"),
    "unknown instance": (INSTANCES, _gray(34_000, np.uint16), "unknown label ids 34000; expected 0 to 33, or 1000"),
    "plain unknown label": (INSTANCES, _gray(999, np.uint16), "unknown label ids 999;"),
    "labels of another size": (LABELS, png(np.zeros((64, 127), np.uint8)), "64 x 127 .*is 64 x 128"),
    "instances of another size": (INSTANCES, png(np.zeros((32, 64), np.uint16)), "32 x 64 .*is 64 x 128"),
    "image of another size": (IMAGE, png(np.zeros((9, 9, 3), np.uint8)), "64 x 128 .*is 9 x 9"),
    "instances of 8 bits": (INSTANCES, _gray(7, np.uint8), "8 bits of color type 0; expected 16"),
    "labels of 16 bits": (LABELS, _gray(7, np.uint16), "16 bits of color type 0; expected 8"),
    "labels in color": (LABELS, png(np.zeros((64, 128, 3), np.uint8)), "color type 2; expected 8"),
    "labels of another image": (LABELS, _gray(7, np.uint8), "of 8192 pixels have another label than in "),
    "labels moved by a tile": (LABELS, _shifted(8), "pixels have another label"),
    "labels cut short": (LABELS, _gray(7, np.uint8)[:-20], "the PNG is damaged"),
    "labels that are text": (LABELS, b"<html>" * 20, "not a PNG file"),
    "image cut short": (IMAGE, png(np.zeros((64, 128, 3), np.uint8))[:-30], "cannot be decoded"),
}


@pytest.mark.parametrize("issue", ISSUES)
def test_an_issue_is_named_with_its_file(root: Path, issue: str) -> None:
    name, content, message = ISSUES[issue]
    (root / name).write_bytes(content)
    inspect = CityscapesInspector(find_cityscapes_split(root, "train"))
    with pytest.raises(DatasetError, match=message) as error:
        inspect(STEM)
    shown = name if issue != "image of another size" else INSTANCES
    assert str(error.value).startswith(f"{root / shown.rpartition(f'/{STEM}')[0]}: {shown.partition('/train/')[2]}: ")
    inspect(STEMS["train"][1])  # the others are sound


def test_maps_that_differ_along_outlines_are_those_of_the_instances(root: Path) -> None:
    """Pixels of a map that was drawn again may differ: the official conversion does not look at them."""
    expected = CityscapesInspector(find_cityscapes_split(root, "train"))(STEM)
    labels = labels_of(draw_instances(0))
    labels[:, 8] = 0
    (root / LABELS).write_bytes(png(labels))
    again = CityscapesInspector(find_cityscapes_split(root, "train"))(STEM)
    assert (again.record, again.png) == (expected.record, expected.png)


def _remove(root: Path, *names: str) -> None:
    for name in names:
        (root / name).unlink()


def _move(root: Path, source: str, target: str) -> None:
    (root / source).rename(root / "aside")
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    (root / "aside").rename(root / target)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "label map missing": (
        lambda root: _remove(root, LABELS),
        rf"1 issue found\n.*{STEM}_gtFine_labelIds\.png is missing",
    ),
    "image without maps": (
        lambda root: _remove(root, LABELS, INSTANCES),
        rf"2 issues found\n.*{STEM}_gtFine_instanceIds\.png is missing",
    ),
    "maps without image": (
        lambda root: _remove(root, IMAGE),
        rf"1 issue found\n.*train: {STEM}_leftImg8bit\.png is missing",
    ),
    "all label maps missing": (
        lambda root: _remove(root, *(f"gtFine/train/{stem}_gtFine_labelIds.png" for stem in STEMS["train"])),
        r"1 issue found\n.*gtFine/train: no \*_gtFine_labelIds\.png, but files in aachen/, ulm/;",
    ),
    "image in no city": (
        lambda root: _move(root, IMAGE, "leftImg8bit/train/aachen_000000_000019_leftImg8bit.png"),
        r"'aachen_000000_000019_leftImg8bit\.png' is no name of Cityscapes, like aachen/aachen_000000_000019_",
    ),
    "image in another city": (
        lambda root: _move(root, IMAGE, "leftImg8bit/train/ulm/aachen_000000_000019_leftImg8bit.png"),
        r"'ulm/aachen_000000_000019_leftImg8bit\.png' is no name of Cityscapes",
    ),
    "cities one folder too deep": (
        lambda root: _move(root, "gtFine/train", "gtFine/train/train"),
        r"'train/aachen/aachen_000000_000019_gtFine_instanceIds\.png' is no name of Cityscapes",
    ),
    "link that leads nowhere": (
        lambda root: (root / "gtFine/train/ulm/ulm_000009_000019_gtFine_labelIds.png").symlink_to("/nowhere"),
        r"1 issue found\n.*labelIds\.png' is a link to /nowhere",
    ),
}


@pytest.mark.parametrize("issue", FILES)
def test_missing_and_foreign_files_are_named(root: Path, issue: str) -> None:
    change, message = FILES[issue]
    change(root)
    with pytest.raises(DatasetError, match=f"(?s){message}"):
        find_images(find_cityscapes_split(root, "train"))


PLACES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "the folder of the images": (lambda root: None, "cityscapes/leftImg8bit", "they are in {}; set dataset.root to"),
    "the folder of a split": (lambda root: None, "cityscapes/gtFine/train", "they are in {}; set dataset.root to that"),
    "the folder above": (lambda root: None, "", "found {}/leftImg8bit, {}/gtFine, one folder too deep; move these up"),
    "images one folder too deep": (
        lambda root: _move(root, "leftImg8bit", "leftImg8bit/leftImg8bit"),
        "cityscapes",
        "found {}/leftImg8bit/leftImg8bit, one folder too deep; move these up into {}, or correct dataset.root",
    ),
    "archives": (
        lambda root: _move(root, "gtFine", "gtFine_trainvaltest.zip"),
        "cityscapes",
        "missing: {}/gtFine/train; found {}/gtFine_trainvaltest.zip; unpack both into {}",
    ),
    "another split": (
        lambda root: _move(root, "leftImg8bit/train", "leftImg8bit/training"),
        "cityscapes",
        "missing: {}/leftImg8bit/train; leftImg8bit has the splits test, training, val; correct the split, or unpack",
    ),
    "nothing": (lambda root: None, "none", "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one"),
}


@pytest.mark.parametrize("place", PLACES)
def test_parts_in_another_place_are_found(root: Path, place: str) -> None:
    change, given, message = PLACES[place]
    change(root)
    with pytest.raises(DatasetError, match=re.escape(message.replace("{}", str(root)))):
        find_cityscapes_split(root.parent / given, "train")
