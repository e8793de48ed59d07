"""Writing the files of one image, and the JSON files of all, each completely or not at all."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path, PurePosixPath

from panoptic.data.image_header import open_image
from panoptic.datasets.layout import is_image
from panoptic.format.categories import CategoryTable
from panoptic.instances.detection_json import segment_rles, write_json_lists
from panoptic.io.files import naming_disk_errors, write_together
from panoptic.io.folder import Folder
from panoptic.io.json_fields import encode_json
from panoptic.runtime.fingerprint import bytes_digest
from panoptic_segformer.predict.inputs import Input, natural_key
from panoptic_segformer.predict.journal import Entry, Journal, JsonFields
from panoptic_segformer.predict.labelme import CLASSES, classes_yaml, labelme_document
from panoptic_segformer.predict.options import Outputs
from panoptic_segformer.result import Result

# Visually lossless, with text in full color resolution.
_OVERLAYS: Mapping[str, Callable[[Result], bytes]] = {
    "jpg": lambda result: result.encode_overlay("JPEG", quality=92, subsampling=0),
    "png": lambda result: result.encode_overlay("PNG", compress_level=3),
}


@dataclass(frozen=True)
class Target:
    """An image whose files are to be written under a name.

    `content` is that of its file where it cannot be read once more. What `earlier` says is there is kept, as a person
    may have corrected it since.
    """

    source: Input
    name: str
    content: bytes | None
    earlier: Entry | None

    def read(self) -> bytes:
        """Return the content of the image's file."""
        return self.source.read() if self.content is None else self.content


class ResultFolder:
    """Writes files of a folder, each completely or not at all; threads may do so at the same time.

    `working` is a folder of the same disk. One for all files, because looking for what killed programs have left takes
    the longer, the more results there are.
    """

    def __init__(self, outputs: Outputs, working: Path) -> None:
        self.outputs = outputs
        self._working, self._numbers = working, count()

    @contextmanager
    def replaced(self, name: str) -> Iterator[Path]:
        """Yield a path to write a file to, which is moved to its place below the folder when the block ends."""
        path, new = self.outputs.folder / name, self._working / f"new-{next(self._numbers)}"
        with naming_disk_errors(path):
            yield new
            path.parent.mkdir(parents=True, exist_ok=True)
            new.replace(path)


def write_image(result: Result, target: Target, folder: ResultFolder) -> Entry:
    """Write the files of an image; returns what the journal says of it."""
    source, name, earlier, outputs = target.source, target.name, target.earlier, folder.outputs
    kept = {file for file in earlier.files if is_written(outputs.folder / file)} if earlier else set[str]()
    files = {f"panoptic/{name}.png": result.to_png}
    if outputs.overlay:
        files[f"overlays/{name}.{outputs.overlay}"] = partial(_OVERLAYS[outputs.overlay], result)
    labelme, image, digest = f"labelme/{name}.json", "", earlier.labelme if earlier else ""
    if outputs.labelme and labelme not in kept:
        image = f"labelme/{name}{_suffix(target)}"
        document = encode_json(labelme_document(result, PurePosixPath(image).name))
        files[labelme], digest = lambda: document, bytes_digest([document])
        with folder.replaced(image) as new:
            _place(target, new)
    for path in files.keys() - kept:
        with folder.replaced(path) as new:
            new.write_bytes(files[path]())
    instances = list(_instances(result)) if outputs.coco_instances else earlier.instances if earlier else None
    segments = [segment.to_coco() for segment in result.segments]
    listed = tuple(sorted({*kept, *files, *([image] if image else [])}))
    described = _described(result, source, name)
    return Entry(name, source.origin, source.identity, listed, described, digest, segments, instances)


def is_written(path: Path) -> bool:
    """Tell whether a file is there; after a power cut, one may be there without its content."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _described(result: Result, source: Input, name: str) -> dict[str, object]:
    """Describe an image for COCO's lists, under the name of its result but with its own suffix."""
    height, width = result.ids.shape
    file_name = PurePosixPath(name).with_name(PurePosixPath(source.name).name).as_posix()
    return {"file_name": file_name, "height": height, "width": width}


def write_lists(journal: Journal, categories: CategoryTable, outputs: Outputs) -> None:
    """Write the JSON files of all images in the folder, numbered in natural order of their names."""
    images_done = (entry for entry in journal.entries.values() if entry.image)
    entries = sorted(images_done, key=lambda entry: natural_key(entry.name))
    numbered = list(enumerate(entries, start=1))
    images = [{"id": number, **entry.image} for number, entry in numbered]
    annotations = [
        {"image_id": number, "file_name": f"{entry.name}.png", "segments_info": entry.segments}
        for number, entry in numbered
    ]
    common = {"images": images, "categories": categories.to_json()}
    document = {**common, "annotations": annotations}
    with write_together() as together:
        together.write(outputs.folder / "panoptic.json", (json.dumps(document) + "\n").encode())
        if with_instances := [(number, entry) for number, entry in numbered if entry.instances is not None]:
            file = BytesIO()
            listed = [{"id": number, **entry.image} for number, entry in with_instances]
            write_json_lists(file, {**common, "images": listed, "annotations": _numbered(with_instances)})
            together.write(outputs.folder / "instances.json", file.getvalue())
        if outputs.labelme:
            together.write(outputs.folder / "labelme" / CLASSES, classes_yaml(categories))


def _numbered(entries: Sequence[tuple[int, Entry]]) -> Iterator[dict[str, object]]:
    instances = ((image_id, each) for image_id, entry in entries for each in entry.instances or ())
    for number, (image_id, instance) in enumerate(instances, start=1):
        yield {**instance, "id": number, "image_id": image_id}


def _instances(result: Result) -> Iterator[JsonFields]:
    """Describe the segments as COCO instances, stuff included, so that nothing is lost when they are corrected."""
    height, width = result.ids.shape
    rles = segment_rles(result.ids, [segment.id for segment in result.segments])
    for segment, counts in zip(result.segments, rles, strict=True):
        yield segment.to_coco() | {"segmentation": {"size": [height, width], "counts": counts}}


def _suffix(target: Target) -> str:
    """Return the suffix by which LabelMe recognizes the image, from its content where the name has none."""
    if is_image(target.source.name):
        return PurePosixPath(target.source.name).suffix
    with open_image(BytesIO(target.read())) as image:
        return f".{(image.format or 'png').lower()}"


def _place(target: Target, path: Path) -> None:
    """Put the image at `path`, as a hard link where possible, otherwise as a copy."""
    source = target.source.source
    if isinstance(source, Folder):
        with suppress(OSError):  # another file system, or one without hard links
            os.link(source.path_of(target.source.name).resolve(), path)
            return
    path.write_bytes(target.read())
