"""The descriptions of published datasets, and telling an archive from a web page."""

import ast
import re
from pathlib import Path

import pytest

from panoptic.datasets.ade20k.things import CLASS_OF_THING
from panoptic.datasets.description import Archive
from panoptic.datasets.download.partial_file import HEAD, other_content
from panoptic.datasets.known import DATASETS, describe_dataset
from panoptic.io.errors import DatasetError
from tests.real_archives import OBJECT_INFO, write_ade20k_archives, write_coco128_archives, write_coco_archives

ROOT = Path(__file__).parents[3]
ARCHIVES = [archive for dataset in DATASETS.values() for archive in dataset.archives]


@pytest.mark.parametrize("name", DATASETS)
def test_a_description_is_consistent(name: str) -> None:
    description = describe_dataset(name)
    assert description is DATASETS[name]
    fetched = {split for archive in description.archives for split in archive.splits}
    assert fetched == (set(description.images) if description.archives else set())
    assert bool(description.images) == (description.typical is not None)
    assert bool(description.archives) == (not description.hint)
    assert description.test is None or description.test in description.images


def test_any_other_name_is_own_data() -> None:
    own = describe_dataset("own")
    assert not own.archives
    assert "annotations/panoptic_<split>.json" in own.hint


def test_no_code_asks_for_the_name_of_a_dataset() -> None:
    """What differs between datasets belongs in their descriptions."""
    asking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("panoptic", "stages", "benchmarks/plan")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        and any(isinstance(part, ast.Constant) and part.value in DATASETS for part in ast.walk(node))
    ]
    assert not asking, f"put it into panoptic/datasets/known.py: {', '.join(asking)}"


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.name)
def test_an_archive_is_described_consistently(archive: Archive) -> None:
    assert archive.address.startswith(("http://", "https://"))
    assert archive.address.endswith(f"/{archive.name}")
    # Of the archive itself, or of its content; never of neither, nor over plain http without the first.
    assert (archive.sha256 is None) == (archive.content_sha256 is not None)
    assert archive.sha256 or archive.address.startswith("https://")
    assert re.fullmatch("[0-9a-f]{64}", archive.sha256 or archive.content_sha256 or "")
    assert archive.bytes > 1_000_000
    assert archive.splits
    # What is read in place lies where it is looked for; what is not lies aside.
    assert (archive.path == archive.name) == (archive.outputs(archive.splits) == ())


def test_all_archives_are_described_and_different() -> None:
    assert sum(archive.bytes for archive in DATASETS["coco"].archives) == 27_914_194_941
    assert sum(archive.bytes for archive in DATASETS["ade20k"].archives) == 1_057_780_757
    assert sum(archive.bytes for archive in DATASETS["coco128"].archives) == 43_553_926
    for key in ("address", "bytes", "path"):
        assert len({getattr(archive, key) for archive in ARCHIVES}) == 10
    assert len({archive.sha256 or archive.content_sha256 for archive in ARCHIVES}) == 10


def test_only_what_the_splits_need_is_fetched_and_unpacked() -> None:
    coco = DATASETS["coco"]
    names = {archive.name for archive in coco.needed(["val2017"])}
    assert names == {"panoptic_annotations_trainval2017.zip", "annotations_trainval2017.zip", "val2017.zip"}
    assert len(coco.needed(["train2017", "val2017"])) == 4
    panoptic, _, test_info = (archive for archive in coco.archives if archive.unpacked)
    assert panoptic.outputs(["val2017"]) == ("annotations/panoptic_val2017.json", "annotations/panoptic_val2017.zip")
    assert panoptic.outputs(["val2017", "val2017"]) == panoptic.outputs(["val2017", "test2017"])
    assert len(panoptic.outputs(["train2017", "val2017"])) == 4
    lists = ("annotations/image_info_test2017.json", "annotations/image_info_test-dev2017.json")
    assert test_info.outputs(["test2017"]) == lists


def test_an_unknown_split_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(DatasetError, match="no split 'train'; there are: train2017, val2017, test2017"):
        DATASETS["coco"].needed(["train", "val2017"])


@pytest.mark.parametrize("name", ["coco", "cityscapes"])
def test_a_split_without_annotations_is_refused(name: str) -> None:
    description = DATASETS[name]
    assert description.test
    train, val, *_ = description.images
    description.require_annotated([train, val])
    with pytest.raises(DatasetError, match=f"split '{description.test}' has no annotations .* one of these: .*{val};"):
        description.require_annotated([train, description.test])


def test_own_data_may_have_any_split() -> None:
    describe_dataset("own").require_annotated(["train", "test"])


def test_things_of_ade20k_are_100_of_the_150_classes() -> None:
    names = {int(row.split("\t")[0]): row.split("\t")[4] for row in OBJECT_INFO.read_text().splitlines()[1:]}
    assert len(names) == 150
    assert len(CLASS_OF_THING) == 100
    assert sorted(set(CLASS_OF_THING)) == list(CLASS_OF_THING)
    # The numbers of a few things as placeschallenge's instanceInfo100_train.txt gives them.
    known = {1: "bed", 2: "windowpane", 4: "person", 9: "car", 31: "stairs", 58: "television", 78: "step", 100: "flag"}
    assert {thing: names[CLASS_OF_THING[thing - 1]].split(",")[0].strip() for thing in known} == known
    stuff = {"wall", "building, edifice", "sky", "floor, flooring", "tree", "grass", "water", "sea", "stage", "shower"}
    assert stuff <= {name.strip() for key, name in names.items() if key not in CLASS_OF_THING}


def test_real_archives_are_recognized_by_their_first_bytes(tmp_path: Path) -> None:
    write_coco_archives(tmp_path, seed=0)
    write_coco128_archives(tmp_path, seed=0)
    write_ade20k_archives(tmp_path, seed=0)
    found = {path.name: other_content(path.read_bytes()[:HEAD], path.name) for path in tmp_path.iterdir()}
    assert found == dict.fromkeys([archive.name for archive in ARCHIVES], "")


@pytest.mark.parametrize(
    ("head", "name", "said"),
    [
        (
            b"<!DOCTYPE html>\n<html><h1>It\xc3\xa9 works</h1>",
            "a.zip",
            "a web page instead of the archive: 'It works'",
        ),
        (b"\n <HTML lang=de>no", "a.tar", "a web page instead of the archive: 'no'"),
        (b'{"error": "x"}', "a.zip", 'something else instead of the archive: \'{"error": "x"}\''),
        (b"PK\x03\x04", "a.tar", "something else instead of the archive: 'PK'"),
        (b"", "a.zip", "something else instead of the archive: ''"),
    ],
)
def test_other_content_is_described_with_its_first_words(head: bytes, name: str, said: str) -> None:
    assert other_content(head, name) == said
