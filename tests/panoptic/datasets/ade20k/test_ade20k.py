"""ADE20K from archives in their real layout: special cases, issues named, and no dependence on order."""

import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.ade20k.images import Ade20kInspector, find_images, read_categories
from panoptic.datasets.ade20k.layout import Ade20kSplit, find_ade20k_split
from panoptic.datasets.ade20k.maps import segment_id
from panoptic.datasets.ade20k.things import CLASS_OF_THING
from panoptic.datasets.coco import VerifiedImage
from panoptic.datasets.download.unpacking import repack_tar
from panoptic.format.id_map import decode_id_map
from panoptic.io.errors import DatasetError
from panoptic.runtime.parallel import map_ahead, worker_pool
from tests.archive_files import png, write_zip
from tests.panoptic.io.made_pngs import SIGNATURE, header
from tests.panoptic.io.made_pngs import png as made_png
from tests.real_archives import ADE20K_THINGS, OBJECT_INFO, Ade20kImage, write_ade20k_archives

STEM = "ADE_train_00000002"
TOP = "ADEChallengeData2016"
IMAGE, SEMANTIC = f"{TOP}/images/training/{STEM}.jpg", f"{TOP}/annotations/training/{STEM}.png"
INSTANCES = f"training/{STEM}.png"
INFO = f"{TOP}/objectInfo150.txt"
BED, PERSON, CAR, FLAG, SKY, FLOOR = 7, 12, 20, 149, 2, 3  # category ids


@dataclass(frozen=True)
class Dataset:
    root: Path
    images: dict[str, list[Ade20kImage]]

    @property
    def training(self) -> Ade20kSplit:
        return find_ade20k_split(self.root, "training")

    def edit(self, change: Callable[[dict[str, bytes]], object]) -> None:
        """Write the archive again in which the files that `change` wants are."""
        for path in sorted(self.root.glob("*.zip")):
            with zipfile.ZipFile(path) as archive:
                entries = {name: archive.read(name) for name in archive.namelist()}
            before = dict(entries)
            try:
                change(entries)
            except KeyError:
                continue
            if entries != before:
                write_zip(path, entries)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    images = write_ade20k_archives(tmp_path, seed=5)
    repack_tar(tmp_path / "annotations_instance.tar", tmp_path / "annotations_instance.zip")
    return Dataset(tmp_path, images)


def _made(split: Ade20kSplit) -> list[VerifiedImage]:
    return list(map(Ade20kInspector(split), find_images(split)))


def _categories(image: VerifiedImage) -> list[int]:
    return [segment.category_id for segment in image.record.segments]


def test_categories_are_those_of_the_archive(dataset: Dataset) -> None:
    table = read_categories(dataset.training.images.path)
    assert (len(table.things), len(table.stuff)) == (100, 50)
    assert sorted(category.id for category in table) == list(range(150))
    assert {category.id + 1 for category in table.things} == set(CLASS_OF_THING)
    assert table.by_id(BED).name == "bed"  # "bed " in the archive
    assert table.by_id(SKY).name == "sky"
    assert table.by_id(FLOOR).name == "floor, flooring"
    assert table.by_id(FLAG).name == "flag"


@pytest.mark.parametrize("split", ["training", "validation"])
def test_every_image_has_the_map_that_was_drawn(dataset: Dataset, split: str) -> None:
    made = _made(find_ade20k_split(dataset.root, split))
    assert len(made) == len(dataset.images[split])
    for image, drawn in zip(made, dataset.images[split], strict=True):
        record = image.record
        assert record.image_id == int(drawn.stem[-8:])
        assert (record.file_name, record.mask_name) == (f"images/{split}/{drawn.stem}.jpg", f"{drawn.stem}.png")
        assert (record.height, record.width) == drawn.image.shape[:2]
        assert image.png is not None
        np.testing.assert_array_equal(decode_id_map(image.png, "image"), image.ids)
        for place in np.ndindex(*image.ids.shape):
            thing, number, class_number = (int(part[place]) for part in (drawn.things, drawn.numbers, drawn.semantic))
            stuff = class_number if class_number not in (0, *CLASS_OF_THING) else 0
            expected = segment_id(ADE20K_THINGS[thing], number) if thing else segment_id(stuff) if stuff else 0
            assert image.ids[place] == expected


def test_special_cases_follow_the_rule(dataset: Dataset) -> None:
    gray, odd, without, _ = _made(dataset.training)
    assert _categories(gray) == [SKY, FLOOR, PERSON, PERSON, CAR]
    assert _categories(odd) == [SKY, FLOOR, PERSON, PERSON, FLAG, CAR, BED]  # numbers 1, 2, 4, 5, 7
    assert _categories(without) == [SKY, FLOOR]
    height, width = odd.ids.shape
    assert (odd.ids[:3, :11] == 0).all()  # other
    assert (odd.ids[height - 4 : height - 2, width - 8 : width - 4] == 0).all()  # a car that is no instance
    flag = next(segment for segment in odd.record.segments if segment.category_id == FLAG)
    assert flag.box_xywh == (width - 12, 4, 6, 5)  # with the row that lies over the sky
    assert flag.area == 30


def test_two_processes_give_the_same_as_one(dataset: Dataset) -> None:
    inspect = pickle.loads(pickle.dumps(Ade20kInspector(dataset.training)))
    stems = find_images(dataset.training)
    with worker_pool(1) as pool:
        there = list(map_ahead(pool, inspect, stems, ahead=2))
    for one, other in zip(there, map(inspect, stems), strict=True):
        assert (one.record, one.png) == (other.record, other.png)
        np.testing.assert_array_equal(one.ids, other.ids)


def test_unpacked_archives_give_the_same(dataset: Dataset) -> None:
    expected = [(image.record, image.png) for image in _made(dataset.training)]
    parts = []
    for part in (dataset.training.images, dataset.training.semantic, dataset.training.instances):
        with zipfile.ZipFile(part.path) as archive:
            archive.extractall(dataset.root / "unpacked" / part.path.stem)
        folder = dataset.root / "unpacked" / part.path.stem
        inner = folder / part.path.stem
        parts.append(type(part)(inner if inner.is_dir() else folder, part.folder, part.suffix))
    assert [(image.record, image.png) for image in _made(Ade20kSplit(*parts))] == expected


def test_a_replaced_archive_is_read_again(dataset: Dataset) -> None:
    inspect = Ade20kInspector(dataset.training)
    assert SKY in _categories(inspect(STEM))
    dataset.edit(_replace(SEMANTIC, _gray(FLOOR + 1)))
    assert SKY not in _categories(inspect(STEM))
    dataset.edit(_without(IMAGE))
    with pytest.raises(DatasetError, match=IMAGE.removeprefix(f"{TOP}/")):
        inspect(STEM)


def test_all_missing_files_are_named_together(dataset: Dataset) -> None:
    names = {
        "images/training/ADE_train_00000001.jpg",
        "annotations/training/ADE_train_00000002.png",
        "annotations/training/ADE_train_00000003.png",
    }
    for name in names:
        dataset.edit(_without(f"{TOP}/{name}"))
    dataset.edit(lambda entries: entries.pop(_instances_name(entries, "ADE_train_00000004")))
    with pytest.raises(DatasetError, match="4 issues") as error:
        find_images(dataset.training)
    for name in (*names, "training/ADE_train_00000004.png"):
        assert f"{name} is missing" in str(error.value)


def test_a_missing_split_is_one_issue_per_archive(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="3 issues") as error:
        find_images(find_ade20k_split(dataset.root, "train"))
    assert "no images/train/*.jpg, but files in" in str(error.value)
    assert "images/training/" in str(error.value)


def test_an_entirely_missing_part_is_one_issue(dataset: Dataset) -> None:
    write_zip(dataset.root / "annotations_instance.zip", {"annotations_instance/validation/ADE_val_00000001.png": b""})
    with pytest.raises(DatasetError, match=r"1 issue found\n.*no training/\*\.png, but files in validation/"):
        find_images(dataset.training)


@pytest.mark.parametrize("stem", ["../../outside", "deeper/ADE_train_00000009", "ADE_train_9", "ADE_tr\xe4in_00000009"])
def test_hostile_and_foreign_names_are_refused(dataset: Dataset, stem: str) -> None:
    name = f"images/training/{stem}.jpg"
    dataset.edit(lambda entries: entries.__setitem__(f"{TOP}/{name}", entries[IMAGE]))
    with pytest.raises(DatasetError, match=re.escape(repr(name))):
        find_images(dataset.training)


def test_two_images_with_one_number_are_named(dataset: Dataset) -> None:
    dataset.edit(lambda entries: entries.__setitem__(IMAGE.replace("train_", "val_"), entries[IMAGE]))
    with pytest.raises(DatasetError, match="ADE_train_00000002 and ADE_val_00000002 have the same number"):
        find_images(dataset.training)


def _instances_name(entries: dict[str, bytes], stem: str) -> str:
    """The name in the archive of instances; raises `KeyError` for another archive."""
    found = [name for name in entries if name.endswith(f"{stem}.png") and TOP not in name]
    if not found:
        raise KeyError(stem)
    return found[0]


def _without(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda entries: entries.pop(name)


def _replace(name: str, content: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        found = _instances_name(entries, STEM) if name == INSTANCES else name
        entries[found] = content(entries[found])

    return change


def _gray(value: int) -> Callable[[bytes], bytes]:
    """A semantic map of one class, of the right size."""
    return lambda old: png(np.full(struct.unpack_from(">II", old, 16)[::-1], value, np.uint8))


def _with_checksum_broken(data: bytes) -> bytes:
    place = data.index(b"IDAT") + 4 + struct.unpack_from(">I", data, data.index(b"IDAT") - 4)[0]
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _deeper_gray(old: bytes) -> bytes:
    width, height = struct.unpack_from(">II", old, 16)
    return made_png(header(height, width, bits=4, color=0), b"")


ISSUES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "class 151": (SEMANTIC, _gray(151), "classes 151; expected 0 to 150"),
    "semantic map in color": (SEMANTIC, lambda old: png(np.zeros((44, 56, 3), np.uint8)), "color type 2; expected 8"),
    "semantic map of 4 bits": (SEMANTIC, _deeper_gray, "4 bits of color type 0; expected 8"),
    "semantic map cut short": (SEMANTIC, lambda old: old[:-20], "the PNG is damaged"),
    "semantic map with a wrong checksum": (SEMANTIC, _with_checksum_broken, "the PNG is damaged"),
    "semantic map of another size": (SEMANTIC, lambda old: png(np.zeros((44, 55), np.uint8)), "44 x 55 .*is 44 x 56"),
    "semantic map that is text": (SEMANTIC, lambda old: b"<html>" * 20, "not a PNG file"),
    "empty semantic map": (SEMANTIC, lambda old: b"", "not a PNG file"),
    "enormous semantic map": (SEMANTIC, lambda old: made_png(header(1 << 30, 1 << 30, 8, 0), b""), "1073741824"),
    "instances of another size": (INSTANCES, lambda old: png(np.zeros((43, 56, 3), np.uint8)), "43 x 56 .*is 44 x 56"),
    "enormous instances": (INSTANCES, lambda old: made_png(header(16000, 16000), b""), "16000 x 16000"),
    "gray instances": (INSTANCES, lambda old: png(np.zeros((44, 56), np.uint8)), "8-bit gray"),
    "instances without a header": (INSTANCES, lambda old: SIGNATURE, "not a PNG file"),
    "unknown thing": (
        INSTANCES,
        lambda old: png(np.full((44, 56, 3), 101, np.uint8)),
        "101 and 101; expected 1 to 100",
    ),
    "image cut short": (IMAGE, lambda old: old[: len(old) // 2], "cannot be decoded"),
    "image that is text": (IMAGE, lambda old: b"<html>", "the image is a text, such as a web page"),
}


@pytest.mark.parametrize("issue", ISSUES)
def test_an_issue_is_named_with_its_archive_and_file(dataset: Dataset, issue: str) -> None:
    name, content, message = ISSUES[issue]
    dataset.edit(_replace(name, content))
    where = re.escape(f".zip: {name.removeprefix(f'{TOP}/')}: ")
    with pytest.raises(DatasetError, match=where + ".*" + message):
        Ade20kInspector(dataset.training)(STEM)
    Ade20kInspector(dataset.training)("ADE_train_00000003")  # the others are sound


INFO_ISSUES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda old: b"", "the first line is ''"),
    "no tabs": (lambda old: old.replace(b"\t", b" "), "expected 'Idx'"),
    "row missing": (lambda old: b"".join(old.splitlines(True)[:-1]), "149 classes instead of 150; missing: 150"),
    "row twice": (lambda old: old + old.splitlines(True)[1], "class 1 is there twice, 'wall' and 'wall'"),
    "class from zero": (lambda old: old.replace(b"\n1\t", b"\n0\t"), "line 2: '0.*missing: 1;"),
    "class 151": (lambda old: old + b"151\t0\t1\t1\tunicorn\n", "line 152: '151"),
    "no name": (lambda old: old.replace(b"\tsky\n", b"\t \n"), "line 4: .*missing: 3;"),
    "no number": (lambda old: old.replace(b"\n3\t", b"\nthree\t"), "line 4: 'three"),
}


@pytest.mark.parametrize("issue", INFO_ISSUES)
def test_a_wrong_list_of_classes_is_named_by_line(tmp_path: Path, issue: str) -> None:
    change, message = INFO_ISSUES[issue]
    write_zip(tmp_path / f"{TOP}.zip", {INFO: change(OBJECT_INFO.read_bytes())})
    with pytest.raises(DatasetError, match=rf"(?s){TOP}\.zip: objectInfo150\.txt: .*{message}"):
        read_categories(tmp_path / f"{TOP}.zip")


def test_line_ends_of_windows_change_nothing(tmp_path: Path) -> None:
    tables = []
    for name, content in (("a", OBJECT_INFO.read_bytes()), ("b", OBJECT_INFO.read_bytes().replace(b"\n", b"\r\n"))):
        write_zip(tmp_path / f"{name}.zip", {"objectInfo150.txt": content})
        tables.append(read_categories(tmp_path / f"{name}.zip"))
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("form", "kind"), [("ADE20K_2021_17_01", "the full ADE20K"), ("train-00000.parquet", "tables")]
)
def test_another_form_of_the_dataset_is_recognized(tmp_path: Path, form: str, kind: str) -> None:
    (tmp_path / form).mkdir()
    with pytest.raises(DatasetError, match=rf"missing: .*annotations_instance\.zip; found {form} \({kind}\), but"):
        find_ade20k_split(tmp_path, "training")
