"""Annotating a split in shards of a few images, so that any number of processes can share it and a kill costs little.

A finished shard is two files in a folder of unfinished work: `train-00012.index`, an index of its images, and
`train-00012.zip`, with their RLEs, semantic maps, and panoptic PNGs if the dataset has none of its own. The zip file is
written last, so that a shard with both is complete. The result of all shards in order depends neither on the number of
processes nor on how often the work was interrupted.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from panoptic.datasets.coco import ImageSource, VerifiedImage
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.instances.detection_json import segment_rles
from panoptic.instances.rle import run_starts
from panoptic.io.errors import Issues
from panoptic.io.files import open_files, write_atomically
from panoptic.io.zip_entries import add_file
from panoptic.runtime.parallel import map_ahead, worker_pool
from panoptic.runtime.ranges import OneOf, Workers, require_ranges

SHARD = 128  # images: some seconds of work
SEMANTIC, PANOPTIC = "semantic", "panoptic"
ORIGINAL, SUPERCATEGORY = "original", "supercategory"
_RLES = "rles.json"
_MOST_IN_8_BITS = 254
# Run-length matching is enough for maps: four times as fast as settings that make the files 30 % smaller.
_QUICK = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)


def void_label(categories: CategoryTable) -> int:
    """The label that means no class in semantic maps of these categories."""
    return 255 if len(categories) <= _MOST_IN_8_BITS else 65535


def make_semantic_map(
    ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Make the (H,W) labels of an (H,W) id map, uint8 or uint16; ids that no segment has, and crowds, are void."""
    void = void_label(categories)
    labels = {segment.id: categories.label_of(segment.category_id) for segment in segments if not segment.is_crowd}
    flat = ids.reshape(-1)
    starts = run_starts(flat)
    names, of_run = np.unique(flat[starts], return_inverse=True)
    table = np.array([labels.get(name, void) for name in names.tolist()], np.uint8 if void == 255 else np.uint16)
    return np.repeat(table[of_run], np.diff(starts, append=flat.size)).reshape(ids.shape)


def encode_semantic_map(labels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode an (H,W) map as a PNG; equal maps give equal bytes."""
    done, data = cv2.imencode(".png", labels, _QUICK)
    assert done
    return data.tobytes()


@dataclass(frozen=True)
class AnnotateSettings:
    """The `annotate` section of params.yaml.

    `workers` is the number of worker processes, which does not change the result; 0 for none, -1 for one per core.
    `semantic` says whether to write semantic maps, `categories` which classes to use: those of the data, or their
    super-categories (`panoptic.datasets.supercategories`).
    """

    workers: Workers = 0
    semantic: bool = True
    categories: Annotated[str, OneOf((ORIGINAL, SUPERCATEGORY))] = ORIGINAL

    def __post_init__(self) -> None:
        require_ranges(self, "annotate")


@dataclass(frozen=True)
class ImageShard:
    """Consecutive images of a split; `path` is that of the files of the shard, without suffix."""

    path: Path
    images: Sequence[Callable[[], VerifiedImage]]
    categories: CategoryTable
    semantic: bool

    @property
    def finished(self) -> bool:
        return self._archive.exists() and self._index.exists()

    def make(self) -> tuple[str, ...]:
        """Verify every image and write the files; if there are issues, return them and write nothing."""
        issues = Issues()
        records: list[ImageRecord] = []
        rles: list[list[str]] = []
        content = BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for inspect in self.images:
                with issues.collected():
                    image = inspect()
                    records.append(image.record)
                    rles.append(segment_rles(image.ids, [segment.id for segment in image.record.segments]))
                    self._add_pngs(archive, image)
            add_file(archive, _RLES, json.dumps(rles).encode())
        if not issues.messages:
            folder = self.path.parent  # a stand-in for the sources, which the index of the split names
            PanopticIndex(self.categories, folder, folder, records).save(self._index)
            write_atomically(self._archive, content.getvalue())
        return tuple(issues.messages)

    def records(self) -> Sequence[ImageRecord]:
        """Read the records of a finished shard."""
        return PanopticIndex.load(self._index).records

    def rles(self) -> list[list[str]]:
        """Read COCO's RLEs of the segments of each image of a finished shard."""
        rles: list[list[str]] = json.loads(open_files(self._archive).read(_RLES))
        return rles

    def pngs(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """Yield names and bytes of the PNGs of a finished shard in the folder `SEMANTIC` or `PANOPTIC`, in order."""
        files = open_files(self._archive)
        for record in self.records():
            yield record.mask_name, files.read(f"{folder}/{record.mask_name}")

    def _add_pngs(self, archive: zipfile.ZipFile, image: VerifiedImage) -> None:
        record = image.record
        if image.png is not None:
            add_file(archive, f"{PANOPTIC}/{record.mask_name}", image.png)
        if self.semantic:
            labels = make_semantic_map(image.ids, record.segments, self.categories)
            add_file(archive, f"{SEMANTIC}/{record.mask_name}", encode_semantic_map(labels))

    @property
    def _archive(self) -> Path:
        return self.path.with_name(f"{self.path.name}.zip")

    @property
    def _index(self) -> Path:
        return self.path.with_name(f"{self.path.name}.index")


def cut_into_shards(role: str, source: ImageSource, folder: Path, semantic: bool) -> tuple[ImageShard, ...]:
    """Divide a split into shards, in order, whose files are in `folder`."""
    return tuple(
        ImageShard(
            folder / f"{role}-{start // SHARD:05}", source.verifiers[start : start + SHARD], source.categories, semantic
        )
        for start in range(0, len(source.verifiers), SHARD)
    )


def make_shards(shards: Mapping[str, Sequence[ImageShard]], workers: int) -> dict[str, list[str]]:
    """Make the unfinished shards of all splits; returns the issues of each split, in the order of its images."""
    missing = [(role, shard) for role, those in shards.items() for shard in those if not shard.finished]
    total = sum(len(shard.images) for those in shards.values() for shard in those)
    done = total - sum(len(shard.images) for _, shard in missing)
    issues: dict[str, list[str]] = {role: [] for role in shards}
    with (
        worker_pool(workers, "annotate.workers") as pool,
        tqdm(total=total, initial=done, desc="annotate", unit="image") as bar,
    ):
        found = map_ahead(pool, ImageShard.make, (shard for _, shard in missing), ahead=2 * workers)
        for (role, shard), messages in zip(missing, found, strict=True):
            issues[role] += messages
            bar.update(len(shard.images))
    return issues
