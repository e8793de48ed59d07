"""The files that annotate writes for a split, made from its finished shards; only records are held in memory.

<role>.index              the panoptic index
detection_<role>.json     the segments in COCO's detection format
instances_<role>.json     ground-truth instances for AP: the dataset's own, as on COCO, or else the same segments
semantic_<role>.zip       semantic maps, named like the panoptic PNGs; on request
panoptic_<role>.zip       panoptic PNGs, if the dataset has none with these classes,
panoptic_<role>.json      and their segments, both in COCO's panoptic format
"""

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from panoptic.datasets.coco import ImageSource
from panoptic.datasets.shards import PANOPTIC, SEMANTIC, ImageShard
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.instances.detection_json import list_images, write_detection_format, write_json_lists
from panoptic.io.files import naming_disk_errors
from panoptic.io.zip_entries import add_file


def write_split(
    folder: Path, final: Path, role: str, source: ImageSource, shards: Sequence[ImageShard], semantic: bool
) -> None:
    """Write the files of a split into `folder`, which will be moved to `final`; equal shards give equal bytes."""
    records = [record for shard in shards for record in shard.records()]
    masks, digest = source.masks, None
    if semantic:
        _write_zip(folder / f"semantic_{role}.zip", SEMANTIC, shards)
    if masks is None:
        masks = final / f"panoptic_{role}.zip"
        digest = _write_zip(folder / masks.name, PANOPTIC, shards)
        _write_panoptic_format(folder / f"panoptic_{role}.json", records, source)
    path = folder / f"detection_{role}.json"
    rles = (masks_of_one for shard in shards for masks_of_one in shard.rles())
    with naming_disk_errors(path), path.open("wb") as file:
        write_detection_format(file, records, rles, source.categories)
    instances = folder / f"instances_{role}.json"
    with naming_disk_errors(instances):
        shutil.copyfile(source.instances or path, instances)
    index = PanopticIndex(source.categories, source.images, masks, records, digest)
    index.save(folder / f"{role}.index", masks_now=None if source.masks else folder / masks.name)


def _write_zip(path: Path, folder: str, shards: Sequence[ImageShard]) -> str:
    """Write the PNGs that the shards hold in `folder` to a zip file; return its SHA-256."""
    with naming_disk_errors(path), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for shard in shards:
            for name, data in shard.pngs(folder):
                add_file(archive, name, data)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_panoptic_format(path: Path, records: Sequence[ImageRecord], source: ImageSource) -> None:
    lists = {
        "images": list_images(records),
        "annotations": _annotations(records),
        "categories": source.categories.to_json(),
    }
    with naming_disk_errors(path), path.open("wb") as file:
        write_json_lists(file, lists)


def _annotations(records: Sequence[ImageRecord]) -> Iterator[dict[str, object]]:
    for record in records:
        segments = [segment.to_json() for segment in record.segments]
        yield {"image_id": record.image_id, "file_name": record.mask_name, "segments_info": segments}
