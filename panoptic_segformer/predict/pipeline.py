"""The images of a run in an overlapped pipeline.

A thread reads and resizes the next images, the main thread runs the network, and others draw, encode and write what it
has found.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from tqdm import tqdm

from panoptic.io.working_folder import working_folder
from panoptic.runtime.parallel import ahead, count_processes, map_ahead
from panoptic_segformer.images import NamedImage
from panoptic_segformer.model import Model
from panoptic_segformer.predict.inputs import Input
from panoptic_segformer.predict.journal import Journal
from panoptic_segformer.predict.options import PredictOptions, Tiles
from panoptic_segformer.predict.reading import InputReader
from panoptic_segformer.predict.writing import ResultFolder, Target, write_image
from panoptic_segformer.result import Result

_WRITERS = 4


def predict_images(
    model: Model, images: Sequence[Input], names: Mapping[str, str], journal: Journal, options: PredictOptions
) -> list[str]:
    """Predict images and write their results, whose names are given by origin; returns what could not be read, and why.

    Every image is in the journal as soon as its files are written, whatever happens afterwards.
    """
    reader, outputs = InputReader(model, is_kept=options.outputs.labelme), options.outputs
    by_origin = {each.origin: each for each in images}
    with (
        tqdm(total=len(images), desc="predict", unit="image", disable=options.quiet) as progress,
        working_folder(outputs.folder) as working,
        _results(model, reader.images(images), options.tiles) as results,
    ):
        folder = ResultFolder(outputs, working)

        def write(result: Result) -> None:
            origin, name = result.name, names[result.name]
            content, earlier = reader.contents.pop(origin, None), journal.entries.get(name)
            journal.add(write_image(result, Target(by_origin[origin], name, content, earlier), folder))

        with closing(_written(results, write, 1 if options.tiles else 2 * _WRITERS)) as written:
            for _ in written:
                progress.update()
    return reader.issues.messages


@contextmanager
def _results(model: Model, images: Iterator[NamedImage], tiles: Tiles | None) -> Iterator[Iterator[Result]]:
    """Yield the results of images, and end the thread that reads ahead."""
    if tiles is None:
        with closing(model.stream(images)) as results:
            yield results
        return
    with closing(ahead(images, 0)) as prepared:
        yield (model.predict_tiled(image, tiles.side, tiles.overlap) for image in prepared)


def _written(results: Iterable[Result], write: Callable[[Result], None], behind: int) -> Generator[None]:
    """Write results in threads, at most so many behind the network; yields for each that is written, in order."""
    pool = ThreadPoolExecutor(min(_WRITERS, count_processes(-1)))
    try:
        yield from map_ahead(pool, write, results, behind)
    finally:  # what is in progress is finished, and noted in the journal
        pool.shutdown(cancel_futures=True)
