"""Time and disk space of loading many images into FiftyOne.

    python -m benchmarks.browse --images 5000

The images are synthetic: 480 x 640, with seven things and five stuff segments in ground truth and prediction each, as
COCO has on average, and their masks on disk. Needs the extra `browse`. Prints seconds for unpacking, loading, saving
the views, and loading again.
"""

import argparse
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.timer import Timer
from panoptic.error_browser.entries import CLEAN, FORMAT, BrowserEntry, SegmentEntry
from panoptic.error_browser.image import image_key
from panoptic.io.working_folder import working_folder
from panoptic.io.zip_entries import add_file
from panoptic.runtime.cli import run_command
from pipelines.browse.app import import_fiftyone
from pipelines.browse.database import database
from pipelines.browse.labels import name_runs
from pipelines.browse.loading import load
from pipelines.browse.run_files import Run
from pipelines.browse.views import save_views

HEIGHT, WIDTH, THINGS, STUFF, CLASSES = 480, 640, 7, 5, 20
OUTCOMES = {
    "ground_truth": ("matched", "missed", "classification"),
    "prediction": ("matched", "background", "classification"),
}

T = TypeVar("T")


def write_run(folder: Path, images: int, seed: int = 0) -> None:
    """Write the files of a run as stages.browse does; all images are one file in `folder`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    categories = [
        {"id": number, "name": f"class{number}", "isthing": int(number < CLASSES / 2), "color": [number, 99, 200]}
        for number in range(CLASSES)
    ]
    description = {"format": FORMAT, "images": images, "categories": categories}
    (folder / "run.json").write_text(json.dumps(description), encoding="utf-8")
    image = folder / "image.jpg"
    image.write_bytes(_encoded(".jpg", rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)))
    stuff = _encoded(".png", np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None] // 96 + 11, WIDTH, axis=1))
    with (
        (folder / "images.jsonl").open("w", encoding="utf-8") as lines,
        zipfile.ZipFile(folder / "files.zip", "w", zipfile.ZIP_STORED) as archive,
    ):
        for image_id in range(images):
            key = image_key(image_id, CLEAN, 0)
            add_file(archive, f"{key}/overlay.jpg", image.read_bytes()[:30000])
            sides = {side: tuple(_segment(rng, side, number, key) for number in range(12)) for side in OUTCOMES}
            for side, segments in sides.items():
                add_file(archive, f"{key}/{side}_stuff.png", stuff)
                for segment in segments:
                    if segment.mask:
                        add_file(archive, segment.mask, _mask(*segment.box_xywh[2:]))
            entry = BrowserEntry(
                image_id=image_id,
                file_name="image.jpg",
                corruption=CLEAN,
                severity=0,
                image=image.as_posix(),
                height=HEIGHT,
                width=WIDTH,
                pq=float(rng.random()),
                boundary_pq=float(rng.random()),
                pq_lost_to_corruption=None,
                tp=8,
                fp=4,
                fn=4,
                pq_loss={"missed": 0.1, "background": 0.1},
                stuff_ground_truth=f"{key}/ground_truth_stuff.png",
                stuff_prediction=f"{key}/prediction_stuff.png",
                overlay=f"{key}/overlay.jpg",
                **sides,
            )
            lines.write(json.dumps(asdict(entry)) + "\n")


def _segment(rng: np.random.Generator, side: str, number: int, key: str) -> SegmentEntry:
    is_thing = number < THINGS
    across, down = (int(size) for size in rng.integers(8, 160, 2))
    category = int(rng.integers(0, CLASSES // 2)) + (0 if is_thing else CLASSES // 2)
    return SegmentEntry(
        id=number + 1,
        category_id=category,
        outcome=OUTCOMES[side][int(rng.integers(3))],
        iou=float(rng.random()),
        boundary_iou=float(rng.random()),
        other_id=1,
        other_category_id=0,
        is_crowd=False,
        score=float(rng.random()) if side == "prediction" else None,
        area=across * down,
        box_xywh=(int(rng.integers(0, WIDTH - across)), int(rng.integers(0, HEIGHT - down)), across, down),
        mask=f"{key}/{side}_{number + 1}.png" if is_thing else None,
    )


def _mask(across: int, down: int) -> bytes:
    mask = np.zeros((down, across), np.uint8)
    cv2.ellipse(mask, (across // 2, down // 2), (across // 2, down // 2), 0, 0, 360, 255, -1)
    return _encoded(".png", mask)


def _encoded(extension: str, image: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(extension, image)
    assert done
    return data.tobytes()


def _timed(name: str, work: Callable[[], T]) -> T:
    timer = Timer()
    result = timer.lap(name, work)
    print(f"{name:36}{timer.laps[name]:9.1f} s", flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.browse", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000, help="default: 5000")
    parser.add_argument("--state", type=Path, default=Path("runs/state/browse"), help="folder of a downloaded mongod")
    arguments = parser.parse_args(argv)
    run_command(lambda: _measure(arguments))


def _measure(arguments: argparse.Namespace) -> None:
    arguments.state.mkdir(parents=True, exist_ok=True)
    with working_folder(arguments.state) as name, database(arguments.state) as uri:
        folder = name / "run"
        write_run(folder, arguments.images)
        fiftyone = import_fiftyone(uri)
        dataset_name = f"benchmark {name.name}"
        try:
            run = _timed("digest, and unpack the masks", lambda: Run.open(folder, name))
            runs = name_runs({"run": run})
            dataset = _timed(f"load {arguments.images} images", lambda: load(fiftyone, dataset_name, runs))
            _timed("save the views", lambda: save_views(fiftyone, dataset, runs))
            _timed("load again, nothing changed", lambda: load(fiftyone, dataset_name, runs))
            dataset.info["loaded"] = None
            _timed("load again, everything rewritten", lambda: load(fiftyone, dataset_name, runs))
            stats = dataset.stats(include_media=False)
            files = [path.stat() for path in run.files.rglob("*") if path.is_file()]
            print(f"{'in the database':36}{stats['samples_bytes'] / 1e6:9.1f} MB")
            blocks = sum(file.st_blocks for file in files) * 512
            print(f"{f'{len(files)} files on disk, in blocks':36}{blocks / 1e6:9.1f} MB")
        finally:
            if fiftyone.dataset_exists(dataset_name):
                fiftyone.delete_dataset(dataset_name)


if __name__ == "__main__":
    main()
