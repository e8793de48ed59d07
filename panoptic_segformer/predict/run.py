"""A run of the command: choosing what is not done yet, predicting images and videos, and the summary."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from panoptic.io.errors import SHOWN_ISSUES, DatasetError
from panoptic.io.printable import printable
from panoptic.runtime.fingerprint import fingerprint
from panoptic_segformer.model import Model
from panoptic_segformer.predict.inputs import Input, Inputs
from panoptic_segformer.predict.journal import Entry, Journal, open_journal
from panoptic_segformer.predict.naming import result_names
from panoptic_segformer.predict.options import Outputs, PredictOptions, Tiles
from panoptic_segformer.predict.pipeline import predict_images
from panoptic_segformer.predict.reading import notes_on
from panoptic_segformer.predict.writing import is_written, write_lists
from panoptic_segformer.video import predict_video

_FREE_SETTINGS = ("images", "batch_size", "compile", "channels_last")
"""Settings that decide no result."""


@dataclass(frozen=True)
class Summary:
    """Outcome of a run: numbers of images and videos, seconds for the images, and messages about unreadable files."""

    images: int
    videos: int
    skipped: int
    seconds: float
    failures: tuple[str, ...]

    def describe(self, out: Path) -> str:
        """Describe the run in one line."""
        rate = f" ({self.images / self.seconds:.1f} images/s)" if self.images and self.seconds else ""
        done = f"{_count(self.images, 'image')} predicted in {self.seconds:.2f} s{rate}"
        videos = f", {_count(self.videos, 'video')}" if self.videos else ""
        skipped = f", {self.skipped} skipped that were done already" if self.skipped else ""
        has_results = self.images or self.videos or self.skipped
        return f"{done}{videos}{skipped}; {f'results in {out}' if has_results else 'nothing was written'}"


def predict_inputs(model: Model, inputs: Inputs, options: PredictOptions) -> Summary:
    """Predict everything that is not done yet and write the results.

    Raises:
        DatasetError: two inputs would have results of one name, or results are there that must not be replaced.
    """
    outputs = options.outputs
    names = _named(inputs.images, result_names(inputs.images, outputs.folder))
    clips = _named(inputs.videos, map(outputs.video, result_names(inputs.videos, outputs.folder)))
    settings, described = _identity(model, options.tiles)
    with open_journal(outputs.folder, settings, described, options.overwrite) as journal:
        images = [each for each in inputs.images if not _is_done(journal, each, names[each.origin], outputs)]
        videos = [each for each in inputs.videos if not _is_done(journal, each, clips[each.origin], outputs)]
        started = time.monotonic()
        failures = predict_images(model, images, names, journal, options)
        seconds, done = time.monotonic() - started, len(images) - len(failures)
        failed_videos = list(_predict_videos(model, videos, clips, journal, options))
        if any(entry.image for entry in journal.entries.values()):
            write_lists(journal, model.categories, outputs)
        journal.finish()
    skipped = len(inputs.images) + len(inputs.videos) - len(images) - len(videos)
    return Summary(done, len(videos) - len(failed_videos), skipped, seconds, (*failures, *failed_videos))


def _named(inputs: Sequence[Input], names: Iterable[str]) -> dict[str, str]:
    return {each.origin: name for each, name in zip(inputs, names, strict=True)}


def _predict_videos(
    model: Model, videos: Sequence[Input], names: Mapping[str, str], journal: Journal, options: PredictOptions
) -> Iterator[str]:
    """Predict videos one by one; yields what could not be read, and why. What is wrong with the others is said."""
    for each in videos:
        name = names[each.origin]
        try:
            out, progress = options.outputs.folder / name, not options.quiet
            # A run that was killed has left no entry: what is there may be replaced.
            report = predict_video(model, Path(each.origin), out, overwrite=True, progress=progress)
        except ValueError as error:
            yield str(error)
            continue
        for issue in report.issues:
            _say(f"note: {each.where}: {issue}")
        files = name, PurePosixPath(name).with_suffix(".json").as_posix()
        journal.add(Entry(name, each.origin, each.identity, files))


def say_notes(inputs: Inputs) -> None:
    """Print what was left out, and what is not read as a viewer shows it."""
    for note in inputs.notes:
        _say(f"note: {note}")
    for note in notes_on(inputs.images):
        _say(note)


def say_failures(failures: Sequence[str]) -> None:
    """Print what could not be read."""
    for failure in failures[:SHOWN_ISSUES]:
        _say(f"error: {failure}")
    left = f"; the first {SHOWN_ISSUES} are shown" if len(failures) > SHOWN_ISSUES else ""
    print(f"error: {_count(len(failures), 'file')} could not be predicted{left}", file=sys.stderr)


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _identity(model: Model, tiles: Tiles | None) -> tuple[str, str]:
    """Return a fingerprint of what decides the results, and words for it."""
    settings = {name: value for name, value in asdict(model.settings).items() if name not in _FREE_SETTINGS}
    cut = f", tiles of {tiles.side} with overlap {tiles.overlap}" if tiles else ""
    sizes = f"{model.settings.shorter} x {model.settings.longer}"
    threshold = f"score threshold {model.settings.merging.score_threshold:g}"
    decisive = {"weights": model.digest or model.source, "settings": settings, "tiles": tiles}
    return fingerprint(decisive), f"{model.source} {model.digest[:12]}, {sizes}, {threshold}{cut}"


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
    has_instances = not (outputs.coco_instances and entry.image) or entry.instances is not None
    wanted = {*(outputs.paths(name) if entry.image else ()), *entry.files}
    return has_instances and wanted == set(entry.files) and all(is_written(outputs.folder / file) for file in wanted)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
