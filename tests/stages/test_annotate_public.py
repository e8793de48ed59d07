"""From the archives of COCO and ADE20K, in their real layouts, to the input of the later stages."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np

from panoptic.data.reader import PanopticReader
from panoptic.datasets.coco import build_index
from panoptic.format.segments import SegmentLabel, measure_segments
from panoptic.index import PanopticIndex
from stages import annotate, download
from tests.real_archives import ADE20K_COUNTS, COCO_COUNTS, write_ade20k_archives, write_coco_archives

OF_A_SPLIT = ("{}.index", "detection_{}.json", "instances_{}.json", "semantic_{}.zip")


def _files(*of_a_split: str) -> set[str]:
    """The names of what there should be."""
    return {"categories.json", *(name.format(role) for name in of_a_split for role in ("train", "val"))}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _download_and_annotate(folder: Path, dataset: str, train: str, val: str) -> Path:
    """Run both stages on archives in `folder`; returns the output."""
    params = folder / "params.yaml"
    params.write_text(
        f"dataset: {{name: {dataset}, root: {folder / 'data'}, train: {train}, val: {val}}}\n"
        f"download: {{published: false, from_folder: {folder / 'archives'}}}\n"
        "annotate: {workers: 1}\n"
    )
    common = ["--params", str(params), "--manifest", str(folder / "manifest.json")]
    download.main(common)
    annotate.main([*common, "--state", str(folder / "state"), "--output", str(folder / "out")])
    return folder / "out"


def test_coco_from_its_archives(tmp_path: Path) -> None:
    splits = write_coco_archives(tmp_path / "archives", seed=0)
    output = _download_and_annotate(tmp_path, "coco", "train2017", "val2017")
    assert {path.name for path in output.iterdir()} == _files(*OF_A_SPLIT)
    for role, split in (("train", "train2017"), ("val", "val2017")):
        index = PanopticIndex.load(output / f"{role}.index")
        assert (index.images, index.masks_sha256) == (tmp_path / "data" / f"{split}.zip", None)
        reader = PanopticReader(index)
        for record, image in zip(index.records, splits[split], strict=True):
            sample = reader.sample(record)
            assert np.array_equal(sample.ids, image.ids)
            assert sample.image.shape == image.image.shape
            labels = [SegmentLabel(segment.id, segment.category_id, segment.is_crowd) for segment in record.segments]
            assert labels == list(image.segments)
        assert len(index.records) == COCO_COUNTS[split]


def test_ade20k_from_its_archives(tmp_path: Path) -> None:
    """The output can be read by any reader of COCO's panoptic format."""
    splits = write_ade20k_archives(tmp_path / "archives", seed=0)
    output = _download_and_annotate(tmp_path, "ade20k", "training", "validation")
    written = _files(*OF_A_SPLIT, "panoptic_{}.json", "panoptic_{}.zip")
    assert {path.name for path in output.iterdir()} == written
    for role, split in (("train", "training"), ("val", "validation")):
        index = PanopticIndex.load(output / f"{role}.index")
        masks = output / f"panoptic_{role}.zip"
        assert (index.masks, index.masks_sha256) == (masks, sha256(masks.read_bytes()).hexdigest())
        assert (len(index.categories.things), len(index.categories.stuff)) == (100, 50)
        assert len(index.records) == ADE20K_COUNTS[split]
        reader = PanopticReader(index)
        for record, image in zip(index.records, splits[split], strict=True):
            assert record.mask_name == f"{image.stem}.png"
            sample = reader.sample(record)
            assert sample.image.shape == image.image.shape
            extents = measure_segments(sample.ids)
            assert {segment.id: segment.area for segment in record.segments} == {
                name: extent.area for name, extent in extents.items()
            }
        read_back = build_index(output / f"panoptic_{role}.json", masks, index.images)
        assert list(read_back.records) == list(index.records)
        assert read_back.categories == index.categories
        listed = json.loads((output / f"panoptic_{role}.json").read_text())["annotations"][0]["segments_info"][0]
        segment = index.records[0].segments[0]
        assert (listed["area"], listed["bbox"]) == (segment.area, list(segment.box_xywh))


def test_ade20k_annotated_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    write_ade20k_archives(tmp_path / "archives", seed=1)
    first = _contents(_download_and_annotate(tmp_path, "ade20k", "training", "validation"))
    assert _contents(_download_and_annotate(tmp_path, "ade20k", "training", "validation")) == first
