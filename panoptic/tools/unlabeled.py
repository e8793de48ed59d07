"""Index images without annotations, such as a test set or your own, so that stages.predict can run on them.

    python -m panoptic.tools.unlabeled --images-json image_info_test-dev2017.json --images test2017.zip
        --categories runs/annotate/categories.json --out runs/test-dev/test.index

Next to the index, `<name>_void.zip` is written with a mask for each image in which every pixel is void: in COCO's
format, nothing is annotated. Every program that reads an index can therefore read this one; the images that
stages.predict draws have an empty ground truth, and nothing counts in a score.
"""

import argparse
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from panoptic.data.decoding import verify_image
from panoptic.data.image_header import read_header
from panoptic.data.reader import print_reading_notes
from panoptic.datasets.layout import describe_left_out, describe_skipped, describe_unused, is_image
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import VOID, encode_id_map
from panoptic.format.image_id import ImageId
from panoptic.format.panoptic_json import ImageEntry
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import FileSource, naming_disk_errors, opened_files, replace_atomically
from panoptic.io.zip_entries import add_file
from panoptic.runtime.cli import run_command
from panoptic.tools.image_list import read_categories, read_image_list


def index_unlabeled(
    images: Path, images_json: Path | None, categories: CategoryTable, out: Path, progress: bool = False
) -> PanopticIndex:
    """Write the index of the images in `images` (a folder or zip file) to `out`, and their void masks next to it.

    `images_json` lists the images to index, with their ids; without it all are indexed, with ids counted from 1 in the
    order of their names. Every image is decoded once, so that no damaged one stops a long prediction. Photos are turned
    upright, unless the sizes in the list are those of the stored pixels.

    Raises `DatasetError` with the issues of all images together: an image that is missing, unreadable or of another
    size than listed, or whose result would have the same name as another's.
    """
    if out.is_dir():
        raise DatasetError(f"{out}: is a folder; name the index to write, such as {out / 'new.index'}")
    files = opened_files(images)
    wanted = None if images_json is None else {entry.id: entry for entry in read_image_list(images_json)}
    upright = wanted is None or _lists_upright_sizes(files, wanted.values())
    records = _records(files, wanted, upright, progress)
    masks = out.with_name(f"{out.stem}_void.zip")
    _write_void_masks(masks, records, progress)
    index = PanopticIndex(categories, images, masks, records, upright=upright)
    index.save(out)
    return index


def _records(
    files: FileSource, wanted: Mapping[ImageId, ImageEntry] | None, upright: bool, progress: bool
) -> tuple[ImageRecord, ...]:
    chosen: dict[ImageId, str]
    if wanted is None:
        chosen = dict(enumerate(filter(is_image, files.names()), start=1))
    else:
        chosen = {image_id: entry.file_name for image_id, entry in wanted.items()}
    if not chosen:
        left_out = [*describe_left_out(files.names()), *describe_skipped(files)]
        found = ", ".join(left_out) or "it is empty"
        hint = "give a folder or zip file with images such as .jpg or .png"
        raise DatasetError(f"{files.path}: there are no images ({found}); {hint}")
    issues = Issues()
    records: dict[str, ImageRecord] = {}
    for image_id, name in tqdm(chosen.items(), desc="images", unit="image", disable=not progress):
        with issues.collected():
            where = f"{files.path}: {name}"
            try:
                data = files.read(name)
            except DatasetError as error:
                raise DatasetError(f"{error}; or remove image id {image_id} from the list") from None
            header = read_header(BytesIO(data), where)
            verify_image(data, where)
            height, width = header.size(upright)
            entry = None if wanted is None else wanted[image_id]
            if entry is not None and (height, width) != (entry.height, entry.width):
                sizes = f"{height} x {width} (height x width), but the list says {entry.height} x {entry.width}"
                raise DatasetError(f"{where}: the size is {sizes}; correct the file or the list")
            mask_name = PurePosixPath(name).with_suffix(".png").as_posix()
            if mask_name in records:
                both = f"the results of it and of '{records[mask_name].file_name}' would both be '{mask_name}'"
                raise DatasetError(f"{where}: {both}; rename one")
            records[mask_name] = ImageRecord(image_id, name, mask_name, height, width, ())
    issues.raise_if_any(str(files.path))
    return tuple(records.values())


def _notes(files: FileSource, index: PanopticIndex) -> Iterator[str]:
    """Say what was left out, and which names may be wrong."""
    yield from describe_unused(files, (record.file_name for record in index.records))
    if undecided := sorted(files.table.undecided.intersection(record.file_name for record in index.records)):
        shown = shown_ids([f"'{name}'" for name in undecided], 3)
        yield f"{len(undecided)} names do not tell their encoding, and may look wrong ({shown}); write them in UTF-8"


def _lists_upright_sizes(files: FileSource, entries: Iterable[ImageEntry]) -> bool:
    """Tell whether the sizes in a list can be those of upright photos; COCO's lists have those of stored pixels."""
    for entry in entries:
        with suppress(DatasetError), files.open(entry.file_name) as file:
            header = read_header(file, entry.file_name)
            if header.size(upright=True) != (entry.height, entry.width) == header.size(upright=False):
                return False
    return True


def _write_void_masks(path: Path, records: Sequence[ImageRecord], progress: bool) -> None:
    @cache
    def void(height: int, width: int) -> bytes:
        return encode_id_map(np.full((height, width), VOID, np.int32))

    with (
        replace_atomically(path) as partial,
        naming_disk_errors(path),
        zipfile.ZipFile(partial, "w") as archive,
    ):
        for record in tqdm(records, desc="void masks", unit="image", disable=not progress):
            add_file(archive, record.mask_name, void(record.height, record.width), zipfile.ZIP_DEFLATED)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m panoptic.tools.unlabeled", description=__doc__.splitlines()[0])
    parser.add_argument("--images-json", type=Path, help="JSON that lists the images (default: index all)")
    parser.add_argument("--images", type=Path, required=True, help="the images: a folder or a zip file")
    parser.add_argument("--categories", type=Path, required=True, help="JSON with the 'categories' of the model")
    parser.add_argument("--out", type=Path, required=True, help="index to write")
    arguments = parser.parse_args(argv)

    def command() -> None:
        categories = read_categories(arguments.categories)
        index = index_unlabeled(arguments.images, arguments.images_json, categories, arguments.out, progress=True)
        print(f"{len(index.records)} images; index {arguments.out}, void masks {index.masks}")
        print_reading_notes(index)
        for note in _notes(opened_files(arguments.images), index):
            print(f"note: {note}")

    run_command(command)


if __name__ == "__main__":
    main()
