"""A run of the command: what is to be done, the images in an overlapped pipeline, and what to say at the end.

A thread reads and resizes the next images, the main thread runs the network, and others draw, encode and write what it
has found.
"""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from panoptic.io.errors import SHOWN_ISSUES, DatasetError
from panoptic.runtime.fingerprint import file_digest, fingerprint
from panoptic.runtime.parallel import ahead, count_processes, map_ahead
from panoptic_segformer.model import Model, NamedImage
from panoptic_segformer.predict.inputs import Input, Inputs
from panoptic_segformer.predict.journal import Journal, open_journal
from panoptic_segformer.predict.naming import result_names
from panoptic_segformer.predict.options import Outputs, PredictOptions, Tiles
from panoptic_segformer.predict.reading import InputReader, notes_on
from panoptic_segformer.predict.writing import write_image, write_lists
from panoptic_segformer.result import Result

_WRITERS = 4
_FREE_SETTINGS = ("images", "batch_size", "compile", "channels_last")
"""Settings that decide no result."""


@dataclass
class Summary:
    """What a run has done: numbers of images and videos, seconds, and what could not be read."""

    images: int = 0
    videos: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def describe(self, out: Path) -> str:
        """Describe the run in one line."""
        rate = f" ({self.images / self.seconds:.1f} images/s)" if self.images and self.seconds else ""
        done = f"{_count(self.images, 'image')} predicted in {self.seconds:.2f} s{rate}"
        videos = f", {_count(self.videos, 'video')}" if self.videos else ""
        skipped = f", {self.skipped} skipped that were done already" if self.skipped else ""
        return f"{done}{videos}{skipped}; results in {out}"


def predict_inputs(model: Model, inputs: Inputs, options: PredictOptions) -> Summary:
    """Predict everything that is not done yet and write the results.

    Raises:
        DatasetError: two inputs would have results of one name, or results are there that must not be replaced.
    """
    everything = (*inputs.images, *inputs.videos)
    out = options.outputs.folder
    names = dict(zip((one.origin for one in everything), result_names(everything, out), strict=True))
    settings, described = _identity(model, options.tiling)
    with open_journal(out, settings, described, options.overwrite) as journal:
        waiting = [one for one in inputs.images if not _is_done(journal, one, names[one.origin], options.outputs)]
        summary = Summary(skipped=len(inputs.images) - len(waiting))
        started = time.monotonic()
        reader = InputReader(model, is_kept=options.outputs.labelme)
        by_origin = {one.origin: one for one in waiting}

        def write(result: Result) -> None:
            origin = result.name
            content = reader.contents.pop(origin, None)
            name, earlier = names[origin], journal.entries.get(names[origin])
            journal.add(write_image(result, by_origin[origin], name, content, options.outputs, earlier))

        progress = tqdm(total=len(waiting), desc="predict", unit="image", disable=options.quiet)
        with (
            progress,
            _results(model, reader.images(waiting), options.tiling) as results,
            closing(_written(results, write)) as written,
        ):
            for _ in written:
                summary.images += 1
                progress.update()
        summary.seconds = time.monotonic() - started
        summary.failures += reader.issues.messages
        write_lists(journal, model.categories, options.outputs)
        journal.finish()
    return summary


def say_notes(inputs: Inputs) -> None:
    """Print what was left out, and what is not read as a viewer shows it."""
    for note in inputs.notes:
        print(f"note: {note}", file=sys.stderr)
    for note in notes_on(inputs.images):
        print(note, file=sys.stderr)


def say_failures(failures: Sequence[str]) -> None:
    """Print what could not be read."""
    for failure in failures[:SHOWN_ISSUES]:
        print(f"error: {failure}", file=sys.stderr)
    left = f"; the first {SHOWN_ISSUES} are shown" if len(failures) > SHOWN_ISSUES else ""
    print(f"error: {_count(len(failures), 'file')} could not be predicted{left}", file=sys.stderr)


def _identity(model: Model, tiling: Tiles | None) -> tuple[str, str]:
    """Return a fingerprint of what decides the results, and words for it."""
    path = Path(model.source)
    digest = model.digest or (file_digest(path) if path.is_file() else "")
    settings = {name: value for name, value in asdict(model.settings).items() if name not in _FREE_SETTINGS}
    tiles = f", tiles of {tiling.tile} with overlap {tiling.overlap}" if tiling else ""
    sizes = f"{model.settings.shorter} x {model.settings.longer}"
    described = f"{model.source} {digest[:12]}, {sizes}, score threshold {model.settings.merging.score_threshold:g}"
    return fingerprint({"weights": digest or model.source, "settings": settings, "tiling": tiling}), described + tiles


def _is_done(journal: Journal, source: Input, name: str, outputs: Outputs) -> bool:
    """Tell whether all results of an input are there. Raises `DatasetError` if they are those of another."""
    entry = journal.entries.get(name)
    if entry is None:
        return False
    if (entry.origin, entry.identity) != (source.origin, source.identity):
        change = "of it before it changed" if entry.origin == source.origin else f"of {entry.origin}"
        raise DatasetError(
            f"{source.where}: its results would replace those {change}, {outputs.folder / entry.files[0]}; choose "
            "another --out, or replace all results there with --overwrite"
        )
    has_instances = not outputs.coco_instances or entry.instances is not None
    wanted = {*outputs.paths(name), *entry.files}
    return has_instances and wanted == set(entry.files) and all((outputs.folder / file).exists() for file in wanted)


@contextmanager
def _results(model: Model, images: Iterator[NamedImage], tiling: Tiles | None) -> Iterator[Iterator[Result]]:
    """Yield the results of images, and end the thread that reads ahead."""
    if tiling is None:
        with closing(_stream(model, images)) as results:
            yield results
        return
    with closing(ahead(images, 1)) as prepared:
        yield (model.predict_tiled(image, tiling.tile, tiling.overlap) for image in prepared)


def _stream(model: Model, images: Iterator[NamedImage]) -> Generator[Result]:
    yield from model.stream(images)


def _written(results: Iterable[Result], write: Callable[[Result], None]) -> Generator[None]:
    """Write results in threads, at most a few behind the network; yields for each that is written, in order."""
    threads = min(_WRITERS, count_processes(-1))
    pool = ThreadPoolExecutor(threads)
    try:
        yield from map_ahead(pool, write, results, 2 * threads)
    finally:  # what is in progress is finished, and noted in the journal
        pool.shutdown(cancel_futures=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
