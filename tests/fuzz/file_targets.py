"""Readers of images, archives, indices, JSON and settings."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pycocotools import mask as coco_mask

from cluster.settings import ClusterSettings
from model.network.config import NetworkConfig
from model.training.settings import TrainSettings
from panoptic.data.decoding import decode_upright, verify_image
from panoptic.data.image_header import read_header
from panoptic.datasets.download.unpacking import unpack_zip
from panoptic.format.annotations import read_annotations
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map, encode_id_map, rgb_to_ids
from panoptic.format.image_id import ImageId
from panoptic.format.panoptic_json import JsonIssue, scan_annotations
from panoptic.format.segments import Segment
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.file import refusing_unsound
from panoptic.index.records import MappedRecords
from panoptic.index.table import RecordedEntries
from panoptic.instances.detection_json import encode_mask
from panoptic.instances.ground_truth import read_instance_ground_truth
from panoptic.instances.results import read_instance_results
from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from panoptic.io.json_fields import JsonObject, load_json
from panoptic.io.zip_entries import add_file
from panoptic.runtime.settings import SettingsError, read_section, read_values
from tests import coco_documents
from tests.fuzz.formats import JSON, PNG, YAML, ZIP
from tests.fuzz.target import Target, refusing
from tests.fuzz.tensor_formats import INDEX
from tests.panoptic.io.made_pngs import interlaced_png
from tests.tiny_dataset import CATEGORIES, make_sample, random_images, write_split

_TABLE = CategoryTable.from_json(CATEGORIES)
_SECTIONS = {"train": TrainSettings, "model": NetworkConfig, "cluster": ClusterSettings}


def decode_ids(data: bytes, _folder: Path) -> None:
    """A panoptic PNG; what is accepted has the ids that Pillow sees."""
    ids = decode_id_map(data, "input")
    try:
        with Image.open(io.BytesIO(data)) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return  # minds what changes no pixel, such as a damaged comment
    assert np.array_equal(ids, rgb_to_ids(rgb))


def decode_photo(data: bytes, _folder: Path) -> None:
    """An image of any type; header and pixels have one size."""
    header = read_header(io.BytesIO(data), "input")
    verify_image(data, "input")
    assert decode_upright(data, "input").shape == (*header.size(upright=True), 3)


def read_archive(data: bytes, folder: Path) -> None:
    """A zip archive, read in place as the standard library reads it, and unpacked to its folder."""
    path, unpacked = folder / "input.zip", folder / "unpacked"
    path.write_bytes(data)
    files = open_files(path)
    files.unusable()
    for name in files.names()[:20]:
        with refusing(DatasetError), files.open(name) as file:
            content = files.read(name)
            with suppress(
                zipfile.BadZipFile, zlib.error, EOFError
            ):  # a local header that differs, where only one looks
                assert file.read() == content
    with refusing(DatasetError), zipfile.ZipFile(path) as archive:
        unpack_zip(path, archive.namelist()[:20], unpacked)
    assert {entry.name for entry in folder.iterdir()} <= {"input.zip", "unpacked"}


def read_index(data: bytes, folder: Path) -> None:
    """An index: all records, and the entries of archives that it has noted."""
    path = folder / "input.index"
    path.write_bytes(data)
    index = PanopticIndex.load(path)
    ids = [category.id for category in index.categories]
    assert isinstance(index.records, MappedRecords)
    index.records.image_ids(), index.records.sizes(), index.records.segment_counts(ids)
    for record in index.records:
        assert len(record.segments) >= 0
    for column in ("file_name", "mask_name"):
        with refusing(DatasetError), refusing_unsound(path):
            entries = RecordedEntries(index.records.file, column)
            for name in ("000100.png", "000101.png", "x"):
                entries.find(name)


def read_panoptic(data: bytes, folder: Path) -> None:
    """A panoptic JSON; it is refused if and only if the scan of the checker finds an issue."""
    path = folder / "input.json"
    path.write_bytes(data)
    issues: list[JsonIssue] = []
    document = load_json(path)
    known = None if b'"images"' in data else _TABLE  # results list no images
    if isinstance(document, dict):
        scan_annotations(JsonObject.of(document, str(path)), issues.append, known)
        scan_annotations(JsonObject.of(document, str(path)), lambda issue: None, with_extents=True)
    try:
        read_annotations(path, known)
    except DatasetError:
        assert issues or not isinstance(document, dict)
        raise
    assert not issues


def read_instances(data: bytes, folder: Path) -> None:
    """Predicted instances, or ground truth in COCO's detection format, down to the masks."""
    path = folder / "input.json"
    path.write_bytes(data)
    if data.lstrip()[:1] == b"{":
        read_instance_ground_truth(path, _TABLE)
        return
    for result in read_instance_results(path, _TABLE):
        assert len(result.box_xywh) == 4
        assert result.mask["size"] == [*coco_mask.decode(result.mask).shape]


def read_settings(data: bytes, folder: Path) -> None:
    """Settings: the sections that are there of three programs."""
    path = folder / "input.yaml"
    path.write_bytes(data)
    for name, schema in _SECTIONS.items():
        if f"{name}:".encode() in data:
            read_section(path, name, schema)
    read_values(path)


def _pngs() -> Mapping[str, bytes]:
    sample = make_sample(0)
    alpha = np.dstack([sample.image, sample.image[..., :1]])
    return {"rgb": encode_id_map(sample.ids), "interlaced": interlaced_png(sample.image), "alpha": _saved(alpha, "PNG")}


def _photos() -> Mapping[str, bytes]:
    image = make_sample(1, 12, 17).image
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    types = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF"}
    photos = {name: _saved(image, kind) for name, kind in types.items()}
    photos["turned jpeg"] = _saved(image, "JPEG", exif=exif)
    photos["16-bit png"] = _saved(image[..., 0].astype(np.uint16) * 257, "PNG")
    photos["16-bit tiff"] = _saved(image[..., 0].astype(np.uint16) * 257, "TIFF")
    return photos


def _saved(pixels: NDArray[np.generic], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _archives() -> Mapping[str, bytes]:
    return {name: _archive(folder, name) for name, folder in (("stored", ""), ("deflated", "input/"))}


def _archive(folder: str, kind: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a.png", "é/b.png", ".DS_Store", "c/"):
            method = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
            add_file(archive, folder + name, b"" if name == "c/" else b"content of " + name.encode() * 20, method)
    return file.getvalue()


def _indices() -> Mapping[str, bytes]:
    with TemporaryDirectory() as made:
        folder = Path(made)
        split = write_split(folder, "val", random_images(0, 2))
        names = ("000100.png", "000101.png")
        with zipfile.ZipFile(folder / "val.zip", "w") as archive:
            for name in names:
                add_file(archive, name, b"image")
        numbers = [Segment(1, 3, False, 5, (0, 0, 5, 1)), Segment(70000, 20, True, 1, (3, 3, 1, 1))]
        indices = {}
        kinds: dict[str, tuple[ImageId, ...]] = {"numbers": (100, 101), "texts": ("a", "é")}
        for kind, ids in kinds.items():
            records = [ImageRecord(key, name, name, 8, 9, tuple(numbers)) for key, name in zip(ids, names, strict=True)]
            PanopticIndex(_TABLE, folder / "val.zip", split.masks, records).save(folder / "index")
            indices[kind] = (folder / "index").read_bytes()
        return indices


def _panoptic_documents() -> Mapping[str, bytes]:
    image = random_images(0, 1)
    whole = coco_documents.panoptic(image) | {"categories": CATEGORIES}
    results = {"annotations": [{"image_id": "a", "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 3}]}]}
    return {"ground truth": json.dumps(whole).encode(), "results": json.dumps(results).encode()}


def _instance_documents() -> Mapping[str, bytes]:
    images = random_images(0, 1)
    gt = coco_documents.instances(images) | {"categories": CATEGORIES[1:3]}
    masks = [encode_mask(images[0].ids == label.id) for label in images[0].segments]
    runs = {"size": [2, 3], "counts": [1, 2, 3]}
    results = [
        {"image_id": 100, "category_id": 3, "score": 0.5, "segmentation": mask, "bbox": [0, 0, 2, 2.5]}
        for mask in (*masks, runs)
    ]
    return {"ground truth": json.dumps(gt).encode(), "results": json.dumps(results).encode()}


def _settings() -> Mapping[str, bytes]:
    cluster = {"launcher": "slurm", "nodes": 2, "timeout_minutes": 1.5, "options": ["--qos=x"], "setup": "true"}
    sections = {"train": asdict(TrainSettings()), "model": asdict(NetworkConfig()), "cluster": cluster}
    return {name: yaml.safe_dump({name: section}).encode() for name, section in sections.items()} | {
        "short": b"train: {epochs: 3, learning_rate: 1e-4}\nmodel: &m {channels: 64}\nother: *m\n"
    }


TARGETS = (
    Target("png", decode_ids, _pngs, (DatasetError,), PNG),
    Target("image", decode_photo, _photos, (DatasetError,)),
    Target("zip", read_archive, _archives, (DatasetError,), ZIP),
    Target("index", read_index, _indices, (DatasetError,), INDEX),
    Target("panoptic_json", read_panoptic, _panoptic_documents, (DatasetError,), JSON),
    Target("instance_json", read_instances, _instance_documents, (DatasetError,), JSON),
    Target("settings", read_settings, _settings, (SettingsError,), YAML),
)
