"""Predict the images of an index: read, resize, network, merging.

Only images of equal size share a forward pass, without padding: the network's norms and mask decoders see padded
pixels, so in a padded batch a prediction would depend on the other images.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from model.device import PRECISIONS, keep_freed_memory, uses_bfloat16
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, Instances, PanopticPrediction, predict_panoptic
from model.network.config import NetworkConfig
from model.network.outputs import PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import top_queries
from model.pixels import normalize
from panoptic.data.reader import PanopticReader
from panoptic.data.transforms import fitted_size, resize_for_inference
from panoptic.format.results import ResultSegment
from panoptic.format.segments import describe_excess
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.records import image_sizes, segment_counts, take
from panoptic.runtime.ranges import BatchSize, Count, OneOf, Side, require_ranges

ReadImages = Callable[[Sequence[ImageRecord]], Iterator[npt.NDArray[np.uint8]]]
"""Yields the images of some records one by one, (H,W,3) uint8 RGB; it may read ahead."""


@dataclass(frozen=True)
class InferenceSettings:
    """The `predict` section of params.yaml; the defaults are the published values.

    `shorter` and `longer` bound the image's sides in pixels; the first `images` results are also drawn.
    `mask_layer`: block of the mask decoders whose masks are used, counted from 1 (table 10); 0 means the final masks.
    `precision`: float32; bfloat16 for everything but boxes and merging; auto: bfloat16 on GPUs that support it.
    `compile`: use torch.compile, separately for each of the first eight image sizes (torch 2.13 fails on symbolic
    sizes), and run other sizes uncompiled. Each takes a minute or more, which pays off only for many images.
    `channels_last`: memory layout of images and backbone that makes convolutions faster; results stay the same.
    """

    shorter: Side = 800
    longer: Side = 1333
    batch_size: BatchSize = 1
    images: Count = 0
    mask_layer: Count = 0
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"
    compile: bool = False
    channels_last: bool = True
    merging: MergingSettings = field(default_factory=MergingSettings)

    def __post_init__(self) -> None:
        """Reject sizes that no image can have, and unknown precisions."""
        require_ranges(self, "predict")
        if self.shorter > self.longer:
            raise ValueError(
                f"predict.shorter is {self.shorter}, but predict.longer is {self.longer}; give shorter <= longer"
            )


def require_mask_layer(settings: InferenceSettings, config: NetworkConfig) -> None:
    """Check that the network has the layer that masks are to be read from.

    Raises:
        ValueError: it does not.
    """
    if config.mask_head == "fpn":
        if settings.mask_layer:
            raise ValueError(
                f"predict.mask_layer is {settings.mask_layer}, but the mask head 'fpn' has no layers; set it to 0"
            )
        return
    decoders = [config.thing_mask_layers, *([config.stuff_mask_layers] if config.stuff == "decoupled" else [])]
    if settings.mask_layer > max(decoders):
        raise ValueError(
            f"predict.mask_layer is {settings.mask_layer}, but the mask decoders have {max(decoders)} layers; "
            "give one of them, or 0 for the final masks"
        )


def crowded_images(config: NetworkConfig, index: PanopticIndex, where: str) -> Iterator[str]:
    """Yield a warning if images of `index`, which `where` names, need more queries than the network has."""
    what, found = ("segments", index.categories) if config.stuff == "joint" else ("things", index.categories.things)
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


@torch.no_grad()
def predict_images(
    network: PanopticSegFormer,
    index: PanopticIndex,
    settings: InferenceSettings,
    progress: bool = False,
    read: ReadImages | None = None,
) -> Iterator[ImagePrediction]:
    """Predict every image of `index` on the network's device, grouped by size and otherwise in order.

    `read` is called once for all images, in the order in which they are needed; by default the index's are read.
    """
    require_mask_layer(settings, network.config)
    keep_freed_memory()
    device = next(network.parameters()).device
    forward = inference_forward(network, settings)
    reader = PanopticReader(index)
    batches = list(same_size_batches(index.records, settings))
    order = list(chain.from_iterable(batches))
    supplied = None if read is None else read(take(index.records, order))
    categories = tuple(category.id for category in index.categories)
    with tqdm(total=len(index.records), desc="predict", unit="image", disable=not progress) as bar:
        for batch in batches:
            records = take(index.records, batch)
            images = map(reader.image, records) if supplied is None else islice(supplied, len(records))
            resized = [resize_for_inference(image, settings.shorter, settings.longer) for image in images]
            tensor = normalize(torch.from_numpy(np.stack(resized)).to(device))
            size = resized[0].shape[0], resized[0].shape[1]
            sizes = [ImageSizes(size, size, (record.height, record.width)) for record in records]
            output = forward(tensor)
            _require_finite(output, records)
            predictions = predict_panoptic(output, sizes, settings.merging)
            for record, prediction in zip(records, predictions, strict=True):
                yield ImagePrediction(record, prediction.ids, _segments(prediction, categories), prediction.instances)
            bar.update(len(records))


def _require_finite(output: PanopticOutput, records: Sequence[ImageRecord]) -> None:
    """Check the class logits and masks of a batch, by sums, which NaN and infinities make NaN or infinite.

    Raises:
        ValueError: some are not finite; names the first image.
    """
    by_decoder = output.location.class_logits if output.query_class_logits is None else output.query_class_logits
    parts = {
        "class logits": by_decoder,
        "masks": output.query_masks.masks,
        "stuff logits": output.stuff_logits,
        "stuff masks": output.stuff.masks if output.stuff else None,
    }
    last = {name: part[-1].flatten(1) for name, part in parts.items() if part is not None}
    sound = torch.stack([part.sum(1).isfinite() for part in last.values()])
    if sound.all():
        return
    for index, record in enumerate(records):  # a sum may exceed all numbers without one that does
        bad = [name for name, part in last.items() if not part[index].isfinite().all()]
        if bad:
            raise ValueError(
                f"the image {record.file_name}: the {' and '.join(bad)} of the network are NaN or infinite; set "
                "predict.precision to float32, or use weights of a training that did not diverge"
            )


def inference_forward(network: PanopticSegFormer, settings: InferenceSettings) -> Callable[[Tensor], PanopticOutput]:
    """Return the network's forward pass in evaluation mode, for images (B, 3, H, W) without padding on its device.

    Raises:
        ValueError: it should be compiled, but there is no compiler.
    """
    device = next(network.parameters()).device
    reduced = uses_bfloat16(settings.precision, device)
    select = top_queries(network.config.selected_queries)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    if settings.compile:
        require_compiler(device)
    run = torch.compile(network, dynamic=False) if settings.compile else network
    network.eval()

    def forward(images: Tensor) -> PanopticOutput:
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            output: PanopticOutput = run(
                images.contiguous(memory_format=layout), None, select, settings.mask_layer, auxiliary=False
            )
        return output

    return forward


def require_compiler(device: torch.device) -> None:
    """Check that torch can compile for the device.

    Raises:
        ValueError: it cannot, because something is not installed.
    """
    if device.type == "cuda":
        found, needed = importlib.util.find_spec("triton") is not None, "the package triton"
    else:
        names = os.environ.get("CXX", ""), "g++", "clang++"
        found, needed = any(shutil.which(name) for name in names), "g++"
    if not found:
        raise ValueError(
            f"predict.compile is true, but {needed}, with which torch compiles for {device.type}, is not found; "
            "install it, or set predict.compile to false"
        )


def same_size_batches(records: Sequence[ImageRecord], settings: InferenceSettings) -> Iterator[list[int]]:
    """Group record indices into batches of at most `batch_size` images that have equal size at the network's input."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(image_sizes(records).tolist()):
        by_size.setdefault(fitted_size(height, width, settings.shorter, settings.longer), []).append(index)
    for group in by_size.values():
        for start in range(0, len(group), settings.batch_size):
            yield group[start : start + settings.batch_size]


def _segments(prediction: PanopticPrediction, categories: Sequence[int]) -> tuple[ResultSegment, ...]:
    return tuple(
        ResultSegment(segment.id, categories[segment.label], score=segment.score) for segment in prediction.segments
    )
