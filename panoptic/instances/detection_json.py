"""Converting a panoptic split to COCO's detection format: each segment as an RLE mask with its box.

Segments keep their order; annotation ids count from 0 over the whole split, as in COCO's own conversion.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.format.categories import CategoryTable
from panoptic.index import ImageRecord
from panoptic.instances.rle import Rle, run_starts


def write_detection_format(
    file: IO[bytes], records: Sequence[ImageRecord], rles: Iterable[Sequence[str]], categories: CategoryTable
) -> None:
    """Write the JSON without holding it in memory; `rles` are the masks of each record's segments, in their order."""
    annotations = _annotations(records, rles)
    write_json_lists(
        file, {"images": list_images(records), "annotations": annotations, "categories": categories.to_json()}
    )


def list_images(records: Iterable[ImageRecord]) -> Iterator[dict[str, object]]:
    """Yield the elements of `images` in any of COCO's formats."""
    for record in records:
        yield {"id": record.image_id, "file_name": record.file_name, "height": record.height, "width": record.width}


def write_json_lists(file: IO[bytes], lists: Mapping[str, Iterable[object]]) -> None:
    """Write a JSON object of lists, element by element; the bytes are those of `json.dumps` and a newline."""
    for position, (name, elements) in enumerate(lists.items()):
        file.write(f"{', ' if position else '{'}{json.dumps(name)}: [".encode())
        for number, element in enumerate(elements):
            file.write(f"{', ' if number else ''}{json.dumps(element)}".encode())
        file.write(b"]")
    file.write(b"}\n")


def _annotations(records: Iterable[ImageRecord], rles: Iterable[Sequence[str]]) -> Iterator[dict[str, object]]:
    numbers = count()
    for record, masks in zip(records, rles, strict=True):
        for segment, mask in zip(record.segments, masks, strict=True):
            yield {
                "id": next(numbers),
                "image_id": record.image_id,
                "category_id": segment.category_id,
                "iscrowd": int(segment.is_crowd),
                "area": segment.area,
                "bbox": list(segment.box_xywh),
                "segmentation": {"size": [record.height, record.width], "counts": mask},
            }


def segment_rles(ids: NDArray[np.int32], segment_ids: Sequence[int]) -> list[str]:
    """COCO's compressed RLE of segments of an (H,W) id map, equal to that of `encode_mask` for each.

    All masks together take one pass over the image, down its columns, instead of one each.
    """
    if not segment_ids:  # on which pycocotools fails
        return []
    height, width = ids.shape
    column_wise = np.ascontiguousarray(ids.T).reshape(-1)
    starts = run_starts(column_wise)
    ends = np.append(starts[1:], ids.size)
    run_ids = column_wise[starts]
    order = np.argsort(run_ids, kind="stable")
    starts, ends, run_ids = starts[order], ends[order], run_ids[order]
    first, last = (np.searchsorted(run_ids, segment_ids, side).tolist() for side in ("left", "right"))
    masks = [
        {"size": [height, width], "counts": _run_lengths(starts[begin:end], ends[begin:end], ids.size)}
        for begin, end in zip(first, last, strict=True)
    ]
    # According to its types, the library does not accept uncompressed counts, but it does.
    rles = coco_mask.frPyObjects(cast("list[Rle]", masks), height, width)
    return [_text(rle["counts"]) for rle in rles]


def _run_lengths(starts: NDArray[np.int64], ends: NDArray[np.int64], size: int) -> list[int]:
    """Lengths of the runs of a mask, alternately outside and inside; the first may be 0, the last is not."""
    edges = np.zeros(2 * len(starts) + 2, np.int64)
    edges[1:-1:2], edges[2::2], edges[-1] = starts, ends, size
    lengths: list[int] = (edges[1:] - edges[:-1]).tolist()
    return lengths if lengths[-1] else lengths[:-1]


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, object]:
    """Encode an (H,W) mask as COCO's compressed RLE, in a form that JSON can hold."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": _text(rle["counts"])}


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode()
