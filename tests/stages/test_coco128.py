"""COCO128 from its two archives to the index: what is verified of them, and that no image is left out silently."""

import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic.data.reader import PanopticReader
from panoptic.datasets import known
from panoptic.datasets.layout import Part
from panoptic.format.segments import SegmentLabel
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import JsonObject, read_json
from stages import annotate, download
from tests.archive_files import jpeg, write_zip
from tests.archive_server import Answer, ArchiveServer
from tests.real_archives import COCO128_COUNTS, COCO128_UNANNOTATED, pack_coco128, write_coco128_archives
from tests.stages.own_data import fails

COCO = Path(__file__).parents[3] / "shared" / "coco-160"
ROLES = {"train": "train2017", "val": "val2017"}
ARCHIVES = ("images.zip", "panoptic_segmentation.zip")


def run_download(folder: Path, archives: Path | None, **settings: object) -> JsonObject:
    """Run the stage with the archives in a folder; returns the manifest."""
    params, manifest = folder / "params.yaml", folder / "manifest.json"
    dataset = {"name": "coco128", "root": str(folder / "data"), **ROLES}
    where = {"published": False, "backoff_s": 0, "from_folder": str(archives or "")} | settings
    params.write_text(json.dumps({"dataset": dataset, "download": where, "annotate": {"semantic": False}}))
    download.main(["--params", str(params), "--manifest", str(manifest)])
    return read_json(manifest)


def run_annotate(folder: Path) -> dict[str, PanopticIndex]:
    """Run the stage after `run_download`; returns the indices."""
    common = ["--params", str(folder / "params.yaml"), "--manifest", str(folder / "manifest.json")]
    annotate.main([*common, "--state", str(folder / "state"), "--output", str(folder / "out")])
    return {role: PanopticIndex.load(folder / "out" / f"{role}.index") for role in ROLES}


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make the archives in a folder the published ones."""
    description = known.DATASETS["coco128"]
    archives = tuple(
        replace(row, content_sha256=Part(folder / row.name, row.content).sha256()) for row in description.archives
    )
    monkeypatch.setitem(known.DATASETS, "coco128", replace(description, archives=archives, images=COCO128_COUNTS))


def pack_again(archive: Path, without: str = "", also: str = "") -> None:
    """Write an archive in the reverse order and uncompressed, without an entry and with another."""
    with zipfile.ZipFile(archive) as source:
        entries = {name: source.read(name) for name in reversed(source.namelist()) if name != without}
    write_zip(archive, entries | ({also: b""} if also else {}), zipfile.ZIP_STORED)


def test_both_splits_are_read_in_place(tmp_path: Path) -> None:
    splits = write_coco128_archives(tmp_path / "archives", seed=0)
    run_download(tmp_path, tmp_path / "archives")
    for role, index in run_annotate(tmp_path).items():
        reader = PanopticReader(index)
        assert len(index.records) == COCO128_COUNTS[ROLES[role]]
        for record, image in zip(index.records, splits[ROLES[role]], strict=True):
            sample = reader.sample(record)
            assert record.file_name == f"{ROLES[role]}/{image.image_id:012}.jpg"
            assert sample.image.shape == image.image.shape
            assert np.array_equal(sample.ids, image.ids)
            labels = [SegmentLabel(segment.id, segment.category_id, segment.is_crowd) for segment in record.segments]
            assert labels == list(image.segments)
    found = sorted(path.relative_to(tmp_path / "data").as_posix() for path in (tmp_path / "data").rglob("*.*"))
    listed = [f"panoptic_segmentation/annotations/panoptic_{split}.json" for split in COCO128_COUNTS]
    assert found == ["archives/archives.json", "archives/panoptic_segmentation.zip", "images.zip", *listed]


def test_images_without_annotation_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco128_archives(tmp_path / "archives", seed=0)
    manifest = run_download(tmp_path, tmp_path / "archives")
    said = capsys.readouterr().out
    assert "train2017: 2 images left out that have no annotation (train2017/000000000004.jpg, train2017/0" in said
    assert "val2017: 2 images left out that have no annotation (val2017/000000001003.jpg, val2017/0" in said
    for role, split in ROLES.items():
        entry = manifest.child("splits").child(role)
        assert entry.integer("image_count") == COCO128_COUNTS[split]
        assert entry.integer("unannotated") == COCO128_UNANNOTATED
        assert entry.child("images").integer("files") == COCO128_COUNTS[split] + COCO128_UNANNOTATED


def test_published_files_are_recognized_however_they_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = tmp_path / "archives"
    write_coco128_archives(archives, seed=0)
    publish(monkeypatch, archives)
    pack_again(archives / "images.zip")
    assert run_download(tmp_path, archives, published=True).values["published"] is True
    capsys.readouterr()
    run_download(tmp_path, None, published=True)  # complete, so that nothing is fetched
    assert "bytes from" not in capsys.readouterr().out


def test_other_files_than_the_published_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco128_archives(tmp_path / "archives", seed=0)
    publish(monkeypatch, tmp_path / "archives")
    write_coco128_archives(tmp_path / "others", seed=1)
    run_download(tmp_path, tmp_path / "others")  # accepted as a subset of one's own
    said = fails(lambda: run_download(tmp_path, tmp_path / "archives", published=True), 2, capsys)
    for path in (tmp_path / "data" / "images.zip", tmp_path / "data" / "archives" / "panoptic_segmentation.zip"):
        assert f"{path}: its files have SHA-256" in said
        path.unlink()
    run_download(tmp_path, tmp_path / "archives", published=True)


def test_an_archive_that_was_copied_in_part_is_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco128_archives(tmp_path / "archives", seed=0)
    publish(monkeypatch, tmp_path / "archives")
    part = Path(shutil.copytree(tmp_path / "archives", tmp_path / "part")) / "images.zip"
    part.write_bytes(part.read_bytes()[:-100])
    said = fails(lambda: run_download(tmp_path, tmp_path / "part", published=True), 2, capsys)
    path = tmp_path / "data" / "images.zip"
    assert re.search(rf"{path}: is damaged \(.*\); remove or replace it", said)
    path.unlink()
    run_download(tmp_path, tmp_path / "archives", published=True)


def test_a_mask_without_image_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco128_archives(tmp_path / "archives", seed=0)
    pack_again(tmp_path / "archives" / "images.zip", without="images/val2017/000000001001.jpg")
    said = fails(lambda: run_download(tmp_path, tmp_path / "archives"), 2, capsys)
    masks = tmp_path / "data" / "archives" / "panoptic_segmentation.zip"
    assert f"split 'val2017' should have 2 images, but {masks} has 3 masks" in said


def test_a_dropped_connection_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco128_archives(tmp_path / "server", seed=0)
    publish(monkeypatch, tmp_path / "server")
    with ArchiveServer(tmp_path / "server").running() as server:
        server.answers["images.zip"].extend([Answer(cut_after=900), Answer(status=503, headers={"Retry-After": "0"})])
        run_download(tmp_path, None, published=True, mirrors=[server.address])
        assert server.ranges("images.zip") == [None, "bytes=900-", "bytes=900-"]
    for name, path in zip(ARCHIVES, ("images.zip", "archives/panoptic_segmentation.zip"), strict=True):
        assert (tmp_path / "data" / path).read_bytes() == (tmp_path / "server" / name).read_bytes()


@pytest.mark.parametrize("name", ["../out.json", "/etc/x", "panoptic_segmentation/annotations/panoptic_val2017.json/x"])
def test_an_archive_that_leaves_its_folder_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco128_archives(tmp_path / "archives", seed=0)
    pack_again(tmp_path / "archives" / "panoptic_segmentation.zip", also=name)
    said = fails(lambda: run_download(tmp_path, tmp_path / "archives"), 2, capsys)
    assert "do not trust this archive" in said or "leaves the folder" in said
    assert not (tmp_path / "data" / "panoptic_segmentation").exists()


@pytest.mark.slow
@pytest.mark.skipif(not COCO.is_dir(), reason="../shared/coco-160 is missing")
def test_photographs_in_the_layout_of_the_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = jpeg(np.zeros((8, 8, 3), np.uint8))
    annotated = {split: {path.name: path.read_bytes() for path in (COCO / split).iterdir()} for split in COCO128_COUNTS}
    photographs = {
        split: files | {f"9{number:011}.jpg": drawn for number in range(128 - len(files))}
        for split, files in annotated.items()
    }
    parts = {split: COCO / "annotations" / f"panoptic_{split}" for split in COCO128_COUNTS}
    documents = {split: part.with_suffix(".json").read_bytes() for split, part in parts.items()}
    masks = {split: {path.name: path.read_bytes() for path in part.iterdir()} for split, part in parts.items()}
    pack_coco128(tmp_path / "archives", photographs, documents, masks)
    run_download(tmp_path, tmp_path / "archives")
    said = capsys.readouterr().out
    for split, files in annotated.items():
        assert f"{split}: {128 - len(files)} images left out that have no annotation ({split}/900000000000.jpg" in said
    for role, index in run_annotate(tmp_path).items():
        listed = {one["image_id"]: one["segments_info"] for one in json.loads(documents[ROLES[role]])["annotations"]}
        assert {record.image_id for record in index.records} == listed.keys()
        for record in index.records:
            assert [segment.to_json() for segment in record.segments] == listed[record.image_id]
