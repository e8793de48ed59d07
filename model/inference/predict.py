"""Predict the images of an index, those of equal size together, while the next ones are read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.inference.post_processing import Instances
from model.inference.predictor import Runtime
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from panoptic.data.reader import PanopticReader
from panoptic.data.transforms import fitted_size
from panoptic.format.results import ResultSegment
from panoptic.format.segments import describe_excess
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.records import image_sizes, segment_counts, take
from panoptic.runtime.parallel import ahead

ReadImages = Callable[[Sequence[ImageRecord]], Iterator[npt.NDArray[np.uint8]]]
"""Yields the images of some records one by one, (H,W,3) uint8 RGB; it may read ahead."""


def crowded_images(config: NetworkConfig, index: PanopticIndex, where: str) -> Iterator[str]:
    """Yield a warning if images of `index`, which `where` names, need more queries than the network has."""
    joint = config.stuff_queries == "joint"
    what, found = ("segments", index.categories) if joint else ("things", index.categories.things)
    counts = segment_counts(index.records, [category.id for category in found])
    limits = {"model.queries": config.queries, "model.selected_queries": config.selected_queries}
    if excess := describe_excess(counts, limits, what):
        yield f"warning: {where}: {excess}"


@dataclass(frozen=True)
class ImagePrediction:
    """Result for one image at its original size: id map (H, W), its segments, and the instances."""

    record: ImageRecord
    ids: npt.NDArray[np.int32]
    segments: tuple[ResultSegment, ...]
    instances: Instances


def predict_images(
    runtime: Runtime,
    index: PanopticIndex,
    progress: bool = False,
    read: ReadImages | None = None,
) -> Iterator[ImagePrediction]:
    """Predict every image of `index`, those of one size together and otherwise in order.

    `read` is called once for all images, in the order in which they are needed; by default the index's are read.
    """
    batches = list(same_size_batches(index.records, runtime.settings))
    records = take(index.records, list(chain.from_iterable(batches)))
    images = map(PanopticReader(index).image, records) if read is None else read(records)
    prepared = ahead(
        map(runtime.prepare, images, (record.file_name for record in records)), 2 * runtime.settings.batch_size
    )
    with tqdm(total=len(records), desc="predict", unit="image", disable=not progress) as bar, closing(prepared):
        remaining = iter(records)
        for batch in batches:
            predictions = runtime.predict(list(islice(prepared, len(batch))))
            for record, prediction in zip(islice(remaining, len(batch)), predictions, strict=True):
                segments = prediction.result_segments(index.categories)
                yield ImagePrediction(record, prediction.ids, segments, prediction.instances)
            bar.update(len(batch))


def same_size_batches(records: Sequence[ImageRecord], settings: InferenceSettings) -> Iterator[list[int]]:
    """Group record indices into batches of at most `batch_size` images that have equal size at the network's input."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(image_sizes(records).tolist()):
        by_size.setdefault(fitted_size(height, width, settings.shorter, settings.longer), []).append(index)
    for group in by_size.values():
        for start in range(0, len(group), settings.batch_size):
            yield group[start : start + settings.batch_size]
