"""A shard of a split: what it stores of its images, and that it stores nothing if one is unsound."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.coco import VerifiedImage
from panoptic.datasets.shards import PANOPTIC, SEMANTIC, ImageShard, encode_semantic_map, make_semantic_map, make_shards
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import encode_id_map
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord
from panoptic.instances.detection_json import encode_mask
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES, random_images

NAMES = ("ä b/1.png", "semantic/2.png", "3.png")


def _sound(number: int, with_png: bool = True) -> VerifiedImage:
    image = random_images(seed=5, count=3)[number]
    extents = measure_segments(image.ids)
    segments = tuple(
        Segment(label.id, label.category_id, label.is_crowd, extents[label.id].area, extents[label.id].box_xywh)
        for label in image.segments
    )
    height, width = image.ids.shape
    record = ImageRecord(number, f"{number}.jpg", NAMES[number], height, width, segments)
    return VerifiedImage(record, image.ids, encode_id_map(image.ids) if with_png else None)


def _unsound(name: str) -> VerifiedImage:
    raise DatasetError(f"{name}: is not sound")


def _shard(path: Path, *, semantic: bool = True, with_png: bool = True) -> ImageShard:
    images = [partial(_sound, number, with_png) for number in range(3)]
    return ImageShard(path, images, CategoryTable.from_json(CATEGORIES), semantic)


def test_a_shard_returns_what_was_written(tmp_path: Path) -> None:
    shard = _shard(tmp_path / "train-00000")
    assert not shard.finished
    assert shard.make() == ()
    assert shard.finished
    images = [_sound(number) for number in range(3)]
    assert list(shard.records()) == [image.record for image in images]
    assert shard.rles() == [
        [encode_mask(np.equal(image.ids, segment.id))["counts"] for segment in image.record.segments]
        for image in images
    ]
    assert list(shard.pngs(PANOPTIC)) == [(name, image.png) for name, image in zip(NAMES, images, strict=True)]
    maps = [make_semantic_map(image.ids, image.record.segments, shard.categories) for image in images]
    assert list(shard.pngs(SEMANTIC)) == list(zip(NAMES, map(encode_semantic_map, maps), strict=True))


@pytest.mark.parametrize(("semantic", "with_png", "kind"), [(False, True, SEMANTIC), (True, False, PANOPTIC)])
def test_maps_that_were_not_requested_are_not_kept(tmp_path: Path, semantic: bool, with_png: bool, kind: str) -> None:
    shard = _shard(tmp_path / "val-00000", semantic=semantic, with_png=with_png)
    shard.make()
    with pytest.raises(DatasetError, match=f"no file '{kind}/"):
        list(shard.pngs(kind))


def test_of_unsound_images_only_the_issues_are_kept(tmp_path: Path) -> None:
    sound = _shard(tmp_path / "train-00000")
    mixed: list[Callable[[], VerifiedImage]] = [partial(_unsound, name) for name in ("a.png", "b.png")]
    mixed.insert(1, sound.images[0])
    unsound = ImageShard(tmp_path / "train-00001", mixed, sound.categories, semantic=True)
    assert make_shards({"train": [sound, unsound]}, workers=0) == {
        "train": ["a.png: is not sound", "b.png: is not sound"]
    }
    assert sound.finished
    assert not unsound.finished
    assert not list(tmp_path.glob("*00001*"))


def test_finished_shards_are_not_made_again(tmp_path: Path) -> None:
    shard = _shard(tmp_path / "train-00000")
    shard.make()
    refusing = ImageShard(shard.path, [partial(_unsound, "a.png")] * 3, shard.categories, semantic=True)
    assert make_shards({"train": [refusing], "val": []}, workers=0) == {"train": [], "val": []}
