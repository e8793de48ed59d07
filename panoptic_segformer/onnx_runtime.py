"""Models that `python -m model.export` wrote as ONNX, run by ONNX Runtime on the CPU.

A file ends in the panoptic map, or in the outputs of the network, which this project's merging takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from model.export.files import FORMATS, MERGING
from model.export.inference_network import INPUT, as_network_output
from model.export.panoptic_outputs import as_prediction, panoptic_inputs
from model.export.sizes import Sizes
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, PanopticPrediction, predict_panoptic
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings
from model.pixels import IMAGE_MEAN, IMAGE_STD, normalize
from panoptic.data.transforms import resize_for_inference, resize_image
from panoptic.format.categories import CategoryTable
from panoptic.io.errors import is_lack_of_memory
from panoptic.io.json_fields import JsonObject, parse_json
from panoptic.io.printable import printable
from panoptic.io.reading import read_file
from panoptic.runtime.fingerprint import file_digest
from panoptic_segformer.changed_settings import SettingValue, with_changes
from panoptic_segformer.model import Model

_PART_OF_FILE = ("compile", "channels_last", "mask_layer", "precision")
_SIZES = ("shorter", "longer")


class Session(Protocol):
    """What is used of `onnxruntime.InferenceSession`."""

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Return the named outputs."""

    def get_modelmeta(self) -> "Metadata":
        """Return what else the file holds."""


class Metadata(Protocol):
    """Metadata of an ONNX file."""

    custom_metadata_map: dict[str, str]


def load_onnx(path: Path, settings: Mapping[str, SettingValue]) -> Model:
    """Load an exported model.

    Args:
        path: file that `python -m model.export` wrote; its description is in its metadata.
        settings: in place of those in the file: thresholds of merging and `batch_size`; with a file for any size of
            image, `shorter` and `longer` as well.

    Raises:
        ValueError: ONNX Runtime is missing, the file is damaged or of another origin, or a setting is wrong.
    """
    session = _open(path)
    description = _description(session, path)
    given = description.child("input")
    sizes = Sizes.from_json(given.child("sizes"))
    merges = description.has(MERGING)
    fixed = {*_PART_OF_FILE, *(_SIZES if sizes.fixed else ()), *(["method"] if merges else ())}
    if frozen := sorted(settings.keys() & fixed):
        raise ValueError(f"{path}: {frozen[0]} is part of an exported file and cannot be changed; export again with it")
    resize = given.child("resize")
    try:
        merging = MergingSettings(**cast(dict[str, Any], description.child("merging").values))
        written = InferenceSettings(resize.integer("shorter"), resize.integer("longer"), merging=merging)
    except TypeError as error:
        raise ValueError(f"{description.where}: has other settings of merging ({error}); export it again") from error
    chosen = with_changes(written, settings)
    categories = CategoryTable.from_json(description.values.get("categories"), description.where)
    outputs = (description.child(MERGING) if merges else description).objects("outputs")
    file_type: type[MergingFile] | type[NetworkFile] = MergingFile if merges else NetworkFile
    file = file_type(session, [output.text("name") for output in outputs], categories, chosen.merging)
    return Model(OnnxRuntime(file, sizes, chosen), categories, chosen, str(path), file_digest(path))


class OnnxRuntime:
    """Runs an exported file; see `panoptic_segformer.model.Runtime`."""

    def __init__(self, file: "NetworkFile | MergingFile", sizes: Sizes, settings: InferenceSettings) -> None:
        self._file = file
        self._sizes = sizes
        self._settings = settings

    def prepare(self, image: NDArray[np.uint8], name: str) -> NetworkInput:
        """Resize an image to a size that the file accepts.

        Raises:
            ValueError: it is too small or too large.
        """
        original = image.shape[0], image.shape[1]
        if self._sizes.fixed:
            return NetworkInput(resize_image(image, *self._sizes.fixed), original, name)
        resized = resize_for_inference(image, self._settings.shorter, self._settings.longer)
        size = self._sizes.nearest(*resized.shape[:2])
        self._sizes.require(*size, name)
        return NetworkInput(resized if size == resized.shape[:2] else resize_image(image, *size), original, name)

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict images of one size, one after another where the file takes single images.

        Raises:
            ValueError: the network's output is not finite; names the images.
        """
        if len(inputs) > 1 and (self._sizes.fixed or not self._file.takes_batches):
            return tuple(prediction for one in inputs for prediction in self.predict([one]))
        images = normalize(torch.from_numpy(np.stack([image.pixels for image in inputs]))).numpy()
        return self._file.predict(images, inputs)


@dataclass(frozen=True)
class NetworkFile:
    """A file that ends in the outputs of the network."""

    session: Session
    names: Sequence[str]
    """Of its outputs."""
    categories: CategoryTable
    merging: MergingSettings
    takes_batches = True

    def predict(self, images: NDArray[np.float32], inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict a batch, and merge."""
        found = _run(self.session, self.names, {INPUT: images}, ", ".join(image.name for image in inputs))
        tensors = {name: torch.from_numpy(output) for name, output in zip(self.names, found, strict=True)}
        if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
            raise _not_finite(bad[0], inputs)
        sizes = [ImageSizes(image.size, image.size, image.original) for image in inputs]
        return predict_panoptic(as_network_output(len(self.categories.things), tensors), sizes, self.merging)


@dataclass(frozen=True)
class MergingFile:
    """A file that ends in the panoptic map of a single image."""

    session: Session
    names: Sequence[str]
    categories: CategoryTable
    merging: MergingSettings
    takes_batches = False

    def predict(self, images: NDArray[np.float32], inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict one image."""
        (image,) = inputs
        given = {INPUT: images, **panoptic_inputs(self.merging, image.original)}
        found = dict(zip(self.names, _run(self.session, self.names, given, image.name), strict=True))
        if not found["finite"]:
            raise _not_finite("outputs", inputs)
        return (as_prediction(found, self.categories),)


def _run(
    session: Session, names: Sequence[str], given: Mapping[str, NDArray[np.generic]], images: str
) -> list[NDArray[np.generic]]:
    try:
        return session.run(names, given)
    except Exception as error:  # ONNX Runtime's errors have no other base class
        if is_lack_of_memory(error):
            raise
        issue = printable(error)
        raise ValueError(
            f"{images}: ONNX Runtime cannot run the exported network ({issue}); export it again"
        ) from error


def _not_finite(what: str, inputs: Sequence[NetworkInput]) -> ValueError:
    shown = ", ".join(image.name for image in inputs)
    return ValueError(f"{shown}: the {what} of the exported network are NaN or infinite; export it again")


def _open(path: Path) -> Session:
    if find_spec("onnxruntime") is None:
        raise ValueError(f"{path} needs onnxruntime; install the project with its extra 'dev'")
    content = read_file(path)
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns about every constant that it does not fold
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return cast(Session, runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"]))
    except Exception as error:  # ONNX Runtime's errors have no other base class
        raise ValueError(f"{path}: ONNX Runtime cannot load it ({error}); copy it or export it again") from error


def _description(session: Session, path: Path) -> JsonObject:
    """Read the metadata, and check that this version prepares images as the file expects."""
    where = f"{path} (metadata)"
    text = session.get_modelmeta().custom_metadata_map.get("description", "")
    if not text:
        raise ValueError(f"{path}: is no file that `python -m model.export` wrote: its metadata has no description")
    description = JsonObject.of(parse_json(text.encode(), where), where)
    if description.text("format") not in FORMATS:
        expected = " or ".join(map(repr, FORMATS))
        raise ValueError(f"{where}: has format {description.text('format')!r}, expected {expected}; export it again")
    given = description.child("input").values
    if (given.get("mean"), given.get("std")) != (list(IMAGE_MEAN), list(IMAGE_STD)):
        raise ValueError(
            f"{where}: images are normalized by {given.get('mean')} and {given.get('std')}, expected {IMAGE_MEAN} and "
            f"{IMAGE_STD}; export it again with this version"
        )
    return description
