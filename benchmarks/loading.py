"""Images a second that reach training, and where the time of an image goes.

    python -m benchmarks.loading
    python -m benchmarks.loading --index runs/annotate/train.index --params params.yaml --workers 8

Draws images of COCO's usual size with their id maps, both in zip files; an index of `stages.annotate` given instead
is measured as it is. Every part, and Pillow as the usual way to decode, takes turns in one process with one thread;
then the loader itself runs with so many workers. Writes loading.md and loading.json.
"""

import argparse
import json
import os
import platform
import statistics
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.evaluation.make_files import LabeledMap, draw_map, drawn_categories, paint
from benchmarks.harness.report import spread
from model.network.config import NetworkConfig
from model.training.batch import PackedBatch, collate
from model.training.sampling import Draw, TrainingImages, training_loader
from model.training.settings import TrainSettings
from panoptic.data.reader import Sample, decode_image
from panoptic.data.transforms import augment
from panoptic.format.id_map import decode_id_map, encode_id_map, rgb_to_ids
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command
from stages.settings import load_section

JPEG_QUALITY = 92  # some 130 kB an image, as COCO's
READ_IMAGE, DECODE_IMAGE, READ_MAP, DECODE_MAP = "image read", "image decoded", "id map read", "id map decoded"
AUGMENT, COLLATE = "augmented: sizes, crop, flip", "segments numbered, padded, in one tensor"
PARTS = (READ_IMAGE, DECODE_IMAGE, READ_MAP, DECODE_MAP, AUGMENT, COLLATE)
ARRIVED = "in the training process, on a CPU: normalized, a mask for every segment"
BY_PILLOW = {"image decoded by Pillow": DECODE_IMAGE, "id map decoded by Pillow, ids from colors": DECODE_MAP}
"""The usual way, and the part that it is compared with."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    images: int
    workers: tuple[int, ...]
    rounds: int


@dataclass(frozen=True)
class Measured:
    """Seconds an image of every part, and images a second by the number of workers; a value for each round."""

    parts: Mapping[str, Sequence[float]]
    rates: Mapping[int, Sequence[float]]


class Stopwatch:
    """Adds up the seconds of what is done under one name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def time(self, name: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it, and return what it returns."""
        started = time.perf_counter()
        result = work(*args, **kwargs)
        self.seconds[name] += time.perf_counter() - started
        return result


def write_dataset(folder: Path, count: int) -> Path:
    """Draw images and id maps into two zip files, and return their index."""
    rng = np.random.default_rng(0)
    images, masks = folder / "images.zip", folder / "masks.zip"
    records = []
    with zipfile.ZipFile(images, "w") as packed_images, zipfile.ZipFile(masks, "w") as packed_masks:
        for number in tqdm(range(count), desc="draw", unit="image"):
            drawn = draw_map(rng)
            painted = cv2.cvtColor(paint(drawn.ids, rng), cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", painted, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
            packed_images.writestr(f"{number}.jpg", jpeg)
            packed_masks.writestr(f"{number}.png", encode_id_map(drawn.ids))
            records.append(_record(number, drawn))
    index = folder / "train.index"
    PanopticIndex(drawn_categories(), images, masks, tuple(records)).save(index)
    return index


def _record(number: int, drawn: LabeledMap) -> ImageRecord:
    extents = measure_segments(drawn.ids)
    segments = tuple(
        Segment(one.id, one.category_id, one.is_crowd, extents[one.id].area, extents[one.id].box_xywh)
        for one in drawn.segments
    )
    height, width = drawn.ids.shape
    return ImageRecord(number, f"{number}.jpg", f"{number}.png", height, width, segments)


def measure(images: TrainingImages, plan: Plan) -> Measured:
    """Load random images, the same in every round, by parts and by the loader; the first round does not count."""
    chosen = np.random.default_rng(0).integers(0, len(images.index.records), plan.images).tolist()
    draws = [Draw(step, ((0, position),)) for step, position in enumerate(chosen)]
    parts: dict[str, list[float]] = defaultdict(list)
    rates: dict[int, list[float]] = defaultdict(list)
    for turn in tqdm(range(plan.rounds + 1), desc="measure", unit="round"):
        watch = Stopwatch()
        for draw in draws:
            load_by_parts(images, draw, watch)
        loaded = {workers: _rate(images, draws, workers) for workers in plan.workers}
        if turn:
            for name, seconds in watch.seconds.items():
                parts[name].append(seconds / len(draws))
            for workers, rate in loaded.items():
                rates[workers].append(rate)
    return Measured(dict(parts), dict(rates))


def load_by_parts(images: TrainingImages, draw: Draw, watch: Stopwatch) -> PackedBatch:
    """What `images[draw]` is, for a single image, with the seconds of every part."""
    index = images.index
    image_files, mask_files = index.image_files(), index.mask_files()
    ((place, position),) = draw.places
    record = index.records[position]
    rng = np.random.default_rng([images.seed, draw.step, place])
    jpeg = watch.time(READ_IMAGE, image_files.read, record.file_name)
    image = watch.time(DECODE_IMAGE, decode_image, jpeg, record.file_name)
    png = watch.time(READ_MAP, mask_files.read, record.mask_name)
    ids = watch.time(DECODE_MAP, decode_id_map, png, record.mask_name)
    for name, data, decode in zip(BY_PILLOW, (jpeg, png), (_pillow_image, _pillow_ids), strict=True):
        watch.time(name, decode, data)
    sample = watch.time(AUGMENT, augment, Sample(image, ids, record), rng, images.augmentation)
    packed = watch.time(COLLATE, collate, [sample], index.categories, images.stuff)
    watch.time(ARRIVED, packed.to, torch.device("cpu"))
    return packed


def _pillow_image(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def _pillow_ids(data: bytes) -> NDArray[np.int32]:
    return rgb_to_ids(_pillow_image(data))


def _rate(images: TrainingImages, draws: Sequence[Draw], workers: int) -> float:
    """Images a second of training's loader, its start left out: until the first image of every worker is there."""
    batches = iter(training_loader(images, draws, workers))
    for _ in range(first := max(1, workers)):
        next(batches)
    started = time.perf_counter()
    count = sum(1 for _ in batches)
    assert count == len(draws) - first
    return count / (time.perf_counter() - started)


def markdown(measured: Measured, plan: Plan, source: str) -> str:
    """The page; `source` says what is loaded."""
    introduction = (
        f"Written by `python -m benchmarks.loading` on {platform.machine()}, {os.cpu_count()} cores: {source}."
        f" Medians of {plan.rounds} rounds of {plan.images} images in which all take turns, lowest and highest in"
        " brackets; files are in the system's cache."
    )
    lines = ["# Loading images for training", "", introduction, ""]
    return "\n".join([*lines, *_parts(measured), "", *_rates(measured)]) + "\n"


def _parts(measured: Measured) -> Iterator[str]:
    whole = [sum(values) for values in zip(*(measured.parts[name] for name in PARTS), strict=True)]
    yield from ("## An image, by one process with one thread", "")
    yield "| | milliseconds | of the whole |"
    yield "|---|---:|---:|"
    for name in PARTS:
        share = statistics.median(measured.parts[name]) / statistics.median(whole)
        yield f"| {name} | {_milliseconds(measured.parts[name])} | {share:.0%} |"
    yield f"| whole | {_milliseconds(whole)} | |"
    yield f"| {ARRIVED} | {_milliseconds(measured.parts[ARRIVED])} | |"
    for name, own in BY_PILLOW.items():
        ratios = [theirs / ours for theirs, ours in zip(measured.parts[name], measured.parts[own], strict=True)]
        yield f"| {name} | {_milliseconds(measured.parts[name])} | {spread(ratios)} times ours |"


def _rates(measured: Measured) -> Iterator[str]:
    yield from ("## Training's loader", "", "| worker processes | images a second | of a single process |")
    yield "|---:|---:|---:|"
    alone = measured.rates[0]
    for workers, rates in measured.rates.items():
        ratios = [rate / one for rate, one in zip(rates, alone, strict=True)]
        yield f"| {workers or 'none'} | {spread(rates, 1)} | {spread(ratios)} |"


def _milliseconds(seconds: Sequence[float]) -> str:
    return spread([1000 * value for value in seconds])


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, help="of stages.annotate (default: images are drawn)")
    recipe = Path("experiments/coco.yaml")
    parser.add_argument("--params", type=Path, default=recipe, help=f"settings of training (default: {recipe})")
    parser.add_argument("--images", type=int, default=48, help="to draw, and to load a round (default: 48)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the loader (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        plan = Plan(arguments.images, (0, *arguments.workers), arguments.rounds)
        if min(plan.rounds, *arguments.workers) < 1 or plan.images <= max(plan.workers):
            raise ValueError("give at least one round and one worker, and more images than workers")
        write(plan, arguments.index, arguments.params, arguments.out)

    run_command(command)


def write(plan: Plan, index: Path | None, params: Path, out: Path) -> None:
    """Measure and write the page."""
    train, stuff = load_section(params, "train", TrainSettings), load_section(params, "model", NetworkConfig).stuff
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with ExitStack() as stack:
        drawn = index is None
        if index is None:
            index = write_dataset(Path(stack.enter_context(TemporaryDirectory())), plan.images)
        images = TrainingImages(PanopticIndex.load(index), train.augmentation, train.seed, stuff)
        sizes = f"{plan.images} drawn images of 480 x 640" if drawn else f"images of {index}"
        measured = measure(images, plan)
    source = f"{sizes}, with the augmentation of {params}"
    content = {"plan": asdict(plan), "source": source, **asdict(measured)}
    page = markdown(measured, plan, source)
    write_atomically(out / "loading.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(out / "loading.md", page.encode())
    print(page)


if __name__ == "__main__":
    main()
