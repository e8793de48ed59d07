"""Digests of folders depend on names and contents of files, and splits tell what they share."""

import base64
import json
import zipfile
import zlib
from pathlib import Path

import pytest

from panoptic.datasets.coco import build_index
from panoptic.passport.digests import describe_ids, digest_of, digest_split, unpack
from panoptic.passport.machine import energy_between
from panoptic.passport.training import describe_splits
from tests.tiny_dataset import random_images, write_split


def test_digest_of_a_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/file").write_text("content")
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")
    (tmp_path / "two/.DS_Store").write_text("left by a system")
    assert digest_of(tmp_path / "one") == digest_of(tmp_path / "two")
    (tmp_path / "two/sub/file").rename(tmp_path / "two/sub/other")
    assert digest_of(tmp_path / "one") != digest_of(tmp_path / "two")


def test_an_image_of_both_splits_is_counted_in_folders_and_archives(tmp_path: Path) -> None:
    images = random_images(0, 5)
    train, val = write_split(tmp_path, "train", images[:3]), write_split(tmp_path, "val", images[2:])
    for name, split in (("train", train), ("val", val)):
        build_index(split.panoptic_json, split.masks, split.images).save(tmp_path / name / "index")
    found = {name: digest_split(tmp_path / name / "index") for name in ("train", "val")}
    assert describe_splits(found)["shared_images"] == 1
    assert found["train"].images.files == 3
    archives = {}
    for name, split in (("train", train), ("val", val)):
        packed = tmp_path / f"packed_{name}.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in split.images.glob("*.png"):
                archive.write(path, path.name)
        build_index(split.panoptic_json, split.masks, packed).save(tmp_path / f"{name}.index")
        archives[name] = digest_split(tmp_path / f"{name}.index")
        assert archives[name].images.sha256 == digest_of(packed)
    assert describe_splits(archives)["shared_images"] == 1


def test_ids_do_not_depend_on_their_order() -> None:
    one, two = describe_ids([3, 1, 2]), describe_ids([2, 3, 1])
    assert one == two
    assert json.loads(unpack(str(one["zlib"]), 100)) == [1, 2, 3]


@pytest.mark.parametrize("packed", [b"no stream", zlib.compress(bytes(1000)), zlib.compress(b"1")[:-5]])
def test_a_stream_that_is_damaged_or_too_long_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="restore the file"):
        unpack(base64.b64encode(packed).decode(), 100)


def test_energy_is_the_difference_of_the_counters_or_says_why_not() -> None:
    assert energy_between({"gpu 0": 10.0, "gpu 1": 1.0}, {"gpu 0": 30.5, "gpu 1": 2.0}, 5)["joules"] == 21.5
    assert energy_between({}, {}, 5) == {"joules": None, "reason": "no counter of energy can be read (RAPL, NVML)"}
