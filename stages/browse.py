"""Name the outcome of every segment and the PQ loss of every image: files to browse in FiftyOne.

    python -m stages.browse --params params.yaml --index runs/annotate/val.index --predictions runs/predict
        --corrupted runs/corrupt --corrupted-predictions runs/robustness/predictions --out runs/browse

Reads only files, as `stages.evaluate` does, so any system's predictions can be browsed. Without corrupted predictions,
only clean images are written. Writes `run.json` (format and categories), `images.jsonl` (one line per image, see
`panoptic.error_browser.entries`) and `files.zip` (masks of things and stuff, overlays, and images that are not files of
their own). `python -m pipelines.browse` shows them.
"""

import argparse
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from panoptic.data.reader import PanopticReader, print_reading_notes
from panoptic.error_browser.entries import FORMAT, BrowserEntry
from panoptic.error_browser.image import ImageToInspect, Inspected, inspect_image
from panoptic.error_browser.predictions import Predictions
from panoptic.format.image_id import ImageId, require_same_type
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.records import all_image_ids
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import naming_disk_errors, replace_folder
from panoptic.io.json_fields import encode_json
from panoptic.io.zip_entries import add_file
from panoptic.robustness.corrupted_split import CorruptedSplit, find_records, images_of
from panoptic.runtime.cli import run_command
from panoptic.runtime.parallel import count_processes, map_ahead, worker_pool
from panoptic.runtime.ranges import Count, Fraction, Workers, require_ranges
from stages.settings import load_section

_AHEAD = 8  # inspected images per worker that may wait to be written


@dataclass(frozen=True)
class BrowseSettings:
    """The `browse` section of params.yaml.

    `images`: how many of the split, from the first on; 0 for all. `boundary_ratio`: width of the boundary band as a
    fraction of the diagonal, 0 for no boundary IoU. `workers`: processes beside this one, -1 for one per core.
    """

    images: Count = 0
    boundary_ratio: Fraction = 0.02
    workers: Workers = 0

    def __post_init__(self) -> None:
        require_ranges(self, "browse")


@dataclass(frozen=True)
class BrowsePaths:
    """Inputs and output of the stage; corrupted images and their predictions are given together, or not at all."""

    index: Path
    predictions: Path
    corrupted: Path | None
    corrupted_predictions: Path | None
    out: Path

    def __post_init__(self) -> None:
        if (self.corrupted is None) != (self.corrupted_predictions is None):
            raise DatasetError("--corrupted and --corrupted-predictions belong together; give both or neither")


def browse(settings: BrowseSettings, paths: BrowsePaths) -> None:
    """Inspect all images and write the folder, all or nothing."""
    split = PanopticIndex.load(paths.index)
    index = replace(split, records=split.records[: settings.images or None])
    print_reading_notes(index)
    items = [*_clean(index, paths.predictions), *_corrupted(index, paths)]
    work = partial(_inspect, reader=PanopticReader(images_of(index).index), boundary_ratio=settings.boundary_ratio)
    issues, workers = Issues(), count_processes(settings.workers)
    clean_pq: dict[ImageId, float | None] = {}
    with (
        replace_folder(paths.out) as folder,
        naming_disk_errors(paths.out),
        worker_pool(workers, "browse.workers") as pool,
    ):
        with (
            (folder / "images.jsonl").open("w", encoding="utf-8") as lines,
            zipfile.ZipFile(folder / "files.zip", "w", zipfile.ZIP_STORED) as archive,
        ):
            found = map_ahead(pool, work, items, _AHEAD * workers)
            for result in tqdm(found, desc="browse", total=len(items), unit="image"):
                if isinstance(result, DatasetError):
                    issues.add(str(result))
                    continue
                for name, data in result.files.items():
                    add_file(archive, name, data)
                lines.write(_compared(result.entry, clean_pq).to_line() + "\n")
        issues.raise_if_any(f"{paths.predictions} against {paths.index}")
        description = {
            "format": FORMAT,
            "images": len(items),
            "categories": index.categories.with_unique_names().to_json(),
        }
        (folder / "run.json").write_bytes(encode_json(description))
    clean = f"{len(index.records)} of {len(split.records)} images (browse.images)"
    corrupted = f"{len(items) - len(index.records)} corrupted versions of them"
    print(f"{clean} and {corrupted} inspected; browse them with: make browse")


def _clean(index: PanopticIndex, folder: Path) -> Iterator[ImageToInspect]:
    predictions = Predictions.read(folder, index.categories)
    require_same_type(predictions.by_image, all_image_ids(index.records), str(predictions.panoptic_json), "the index")
    missing = [record.image_id for record in index.records if record.image_id not in predictions.by_image]
    if missing:
        raise DatasetError(
            f"{predictions.panoptic_json}: no result for {len(missing)} of {len(index.records)} images (image ids "
            f"{shown_ids(missing)}); add their results"
        )
    # The App cannot show an image inside an archive.
    keep = not index.images.is_dir()
    for record in index.records:
        yield ImageToInspect(record, predictions.only(record.image_id), keep=keep)


def _corrupted(index: PanopticIndex, paths: BrowsePaths) -> Iterator[ImageToInspect]:
    """Every variant of the images that have predictions."""
    if paths.corrupted is None or paths.corrupted_predictions is None:
        return
    split = CorruptedSplit.load(paths.corrupted / "manifest.json")
    browsed = {record.image_id for record in index.records}
    for variant in split.variants:
        predictions = Predictions.read(paths.corrupted_predictions / str(variant), index.categories)
        image_ids = [image_id for image_id in predictions.by_image if image_id in browsed]
        records: Sequence[ImageRecord] = find_records(index, image_ids, str(predictions.panoptic_json))
        for record in records:
            yield ImageToInspect(record, predictions.only(record.image_id), variant, keep=True)


def _inspect(item: ImageToInspect, reader: PanopticReader, boundary_ratio: float) -> Inspected | DatasetError:
    """Inspect one image. An issue is returned, not raised, so that the other images are inspected too."""
    try:
        return inspect_image(item, reader, boundary_ratio)
    except DatasetError as error:
        return error


def _compared(entry: BrowserEntry, clean_pq: dict[ImageId, float | None]) -> BrowserEntry:
    """Add the PQ lost to the corruption; clean images, which come first, are remembered."""
    if entry.severity == 0:
        clean_pq[entry.image_id] = entry.pq
        return entry
    before = clean_pq.get(entry.image_id)
    return replace(entry, pq_lost_to_corruption=None if before is None or entry.pq is None else before - entry.pq)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.browse", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'browse' is read")
    parser.add_argument("--index", type=Path, required=True, help="index of the ground truth, from stages.annotate")
    parser.add_argument("--predictions", type=Path, required=True, help="folder that stages.predict wrote")
    parser.add_argument("--corrupted", type=Path, help="folder that stages.corrupt wrote")
    parser.add_argument(
        "--corrupted-predictions", type=Path, help="folder with predictions of each variant, from stages.robustness"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "browse", BrowseSettings)
        paths = BrowsePaths(
            arguments.index,
            arguments.predictions,
            arguments.corrupted,
            arguments.corrupted_predictions,
            arguments.out,
        )
        browse(settings, paths)

    run_command(stage)


if __name__ == "__main__":
    main()
