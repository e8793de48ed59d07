"""Run a network that others trained as its authors do, or merge its masks by our methods.

The image processor of the folder resizes and normalizes, and, by the merging method `own`, makes the map
(`post_process_panoptic_segmentation`). Each image is run alone, as in transformers' pipeline, so that padding to the
size of others changes nothing. The processor fuses no segments, since in transformers 5.23 those that follow a fused
one may get the id of another; the segments of a stuff class are joined here.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from model.comparators.classes import ClassMap
from model.comparators.folder import LoadedFolder
from model.device import uses_bfloat16
from model.inference.bit_masks import Size
from model.inference.merging import OWN, Candidates, Merged, MergingSettings, PredictedSegment
from model.inference.post_processing import FoundMasks, ImageSizes, PanopticPrediction, crop_masks
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings
from model.network.queries import top_pairs
from panoptic.io.errors import is_lack_of_memory

_OUTPUTS = {"detr": ("logits", "pred_masks")}
_USUAL_OUTPUTS = ("class_queries_logits", "masks_queries_logits")


@dataclass(frozen=True)
class ComparatorMasks(FoundMasks):
    """Masks that can also be merged by the network's own post-processing."""

    own: Callable[[], Merged]
    kept_bytes: int  # that `own` keeps

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return super().nbytes + self.kept_bytes

    def _merged(self, candidates: Candidates, settings: MergingSettings) -> Merged:
        return self.own() if settings.method == OWN else super()._merged(candidates, settings)


class Comparator:
    """Predicts images with the network of a folder; see `model.inference.predictor.Runtime`.

    Raises:
        ValueError: the settings ask for what such networks have not.
    """

    def __init__(
        self,
        loaded: LoadedFolder,
        classes: ClassMap,
        num_things: int,
        settings: InferenceSettings,
        device: torch.device,
    ) -> None:
        for name in ("mask_layer", "compile"):
            if value := getattr(settings, name):
                raise ValueError(f"predict.{name} is {value}, which networks of transformers do not have; leave it out")
        self.settings = settings
        network: nn.Module = loaded.network
        self._network = network.to(device)
        self._processor = loaded.processor
        self._classes, self._num_things, self._device = classes, num_things, device
        known = [index for index, label in enumerate(classes.labels) if label is not None]
        self._columns = torch.tensor(known, device=device)
        self._labels = torch.tensor([classes.labels[index] for index in known], device=device)
        self._outputs = _OUTPUTS.get(loaded.network.config.model_type, _USUAL_OUTPUTS)
        parameters = inspect.signature(loaded.processor.post_process_panoptic_segmentation).parameters
        unfused = {"label_ids_to_fuse": set[int]()} if "label_ids_to_fuse" in parameters else {}
        self._options = {**loaded.thresholds, **unfused}

    def prepare(self, image: npt.NDArray[np.uint8], name: str) -> NetworkInput:
        """Keep an image (H, W, 3) uint8 RGB as it is: the image processor resizes it."""
        return NetworkInput(image, (image.shape[0], image.shape[1]), name)

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict the panoptic maps of images, one after another.

        Raises:
            ValueError: the network's output is not finite; names the image.
        """
        return tuple(found.merge(self.settings.merging) for found in self.find(inputs))

    def find(self, inputs: Sequence[NetworkInput]) -> Iterator[FoundMasks]:
        """Find the masks of images as `predict` does, and leave merging to the caller."""
        return map(self._find, inputs)

    @torch.no_grad()
    def _find(self, image: NetworkInput) -> FoundMasks:
        """Select the most probable pairs of query and class, as many as there are queries."""
        logits, masks, sizes = self._run(image)
        probabilities = logits.softmax(-1)[..., self._columns]
        (scores,), (queries,), (classes,) = top_pairs(probabilities, logits.shape[1])
        return ComparatorMasks(
            masks=crop_masks(masks[0], sizes)[queries].sigmoid(),
            labels=self._labels[classes],
            probabilities=scores,
            boxes_cxcywh=None,
            queries=None,
            selected=len(queries),
            num_things=self._num_things,
            sizes=sizes,
            own=lambda: self._merge_own(logits, masks, image.original),
            kept_bytes=logits.nbytes + masks.nbytes,
        )

    def _run(self, image: NetworkInput) -> tuple[Tensor, Tensor, ImageSizes]:
        """Return logits of classes (1, Q, T + 1) and masks (1, Q, h, w), and which part of the masks is the image."""
        try:
            batch = self._processor(images=[Image.fromarray(image.pixels)], return_tensors="pt").to(self._device)
        except ValueError as error:  # a side that would have no pixels
            height, width = image.original
            raise ValueError(
                f"the image {image.name}: the image processor cannot resize its {width} x {height} pixels "
                f"({error!s:.80}); give one that is less thin"
            ) from error
        reduced = uses_bfloat16(self.settings.precision, self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=reduced):
            outputs = self._forward(batch, image.name)
        logits, masks = (getattr(outputs, name).float() for name in self._outputs)
        if not (logits.isfinite().all() and masks.isfinite().all()):
            raise ValueError(
                f"the image {image.name}: the output of the network is NaN or infinite; set predict.precision to "
                "float32, or use other weights"
            )
        padding = batch.get("pixel_mask")
        valid = self._size_without_padding(image) if padding is None else _extent(padding[0])
        return logits, masks, ImageSizes(batch["pixel_values"].shape[-2:], valid, image.original)

    def _forward(self, batch: Mapping[str, Tensor], name: str) -> object:
        try:
            return self._network(**batch)
        except RuntimeError as error:
            if type(error) is not RuntimeError or is_lack_of_memory(error):
                raise
            height, width = batch["pixel_values"].shape[-2:]
            raise ValueError(
                f"the image {name}: the network cannot take the {width} x {height} pixels that its image processor "
                f"makes of it ({error!s:.80}); copy the network's own preprocessor_config.json"
            ) from error

    def _size_without_padding(self, image: NetworkInput) -> Size:
        """Return the size (height, width) of an image at the network's input where no mask of the padding tells it."""
        blank = Image.new("RGB", image.original[::-1])
        height, width = self._processor(images=[blank], do_pad=False)["pixel_values"][0].shape[-2:]
        return height, width

    @torch.no_grad()
    def _merge_own(self, logits: Tensor, masks: Tensor, size: Size) -> Merged:
        """Make the map as transformers does, without the classes that the dataset does not have."""
        outputs = SimpleNamespace(**dict(zip(self._outputs, (logits, masks), strict=True)))
        (found,) = self._processor.post_process_panoptic_segmentation(outputs, target_sizes=[size], **self._options)
        where = found["segmentation"].cpu().numpy()
        ids, segments = np.zeros(size, np.int32), list[PredictedSegment]()
        stuff_ids: dict[int, int] = {}
        for segment in sorted(found["segments_info"], key=lambda one: -one["score"]):
            label = self._classes.labels[segment["label_id"]]
            if label is None:
                continue
            is_thing, joined = label < self._num_things, stuff_ids.get(label)
            ids[where == segment["id"]] = joined or len(segments) + 1
            if joined:
                continue
            segments.append(PredictedSegment(len(segments) + 1, label, segment["score"], 0, is_thing, 0))
            if not is_thing:
                stuff_ids[label] = len(segments)
        areas = np.bincount(ids.ravel(), minlength=len(segments) + 1).tolist()
        return ids, tuple(replace(segment, area=areas[segment.id]) for segment in segments)


def _extent(mask: Tensor) -> Size:
    """Return the size of the part of a mask (H, W) that is 1, at its top and left."""
    return int(mask[:, 0].sum()), int(mask[0].sum())
