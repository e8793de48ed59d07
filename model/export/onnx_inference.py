"""Inference by ONNX Runtime on the CPU with exported files, when they are checked and when programs use them.

A file ends in the panoptic map, or in the outputs of the network, which this project's merging takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.export.inference_network import INPUT, as_network_output
from model.export.panoptic_outputs import as_prediction, panoptic_inputs
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, PanopticPrediction, predict_panoptic
from model.inference.predictor import NetworkInput
from model.pixels import normalize
from panoptic.format.categories import CategoryTable
from panoptic.io.errors import is_lack_of_memory
from panoptic.io.printable import printable

Array = NDArray[np.generic]


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that is used here."""

    def run(self, names: Sequence[str] | None, inputs: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs, or all."""

    def get_outputs(self) -> Sequence["Named"]:
        """Return the descriptions of the outputs."""

    def get_modelmeta(self) -> "Metadata":
        """Return what else the file holds."""


class Named(Protocol):
    """An output of a file."""

    name: str


class Metadata(Protocol):
    """Metadata of an ONNX file."""

    custom_metadata_map: dict[str, str]


def open_onnx(file: Path | bytes) -> Session:
    """Load an ONNX file, to be run with as many threads as torch has."""
    onnxruntime = import_module("onnxruntime")  # an extra, and not needed for the other format
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns about every constant that it does not fold
    options.intra_op_num_threads = torch.get_num_threads()
    return cast(Session, onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]))


def run_onnx(session: Session, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return all outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def normalized(inputs: Sequence[NetworkInput]) -> Tensor:
    """Normalize images of one size as a batch (B, 3, h, w) float32."""
    return normalize(torch.from_numpy(np.stack([image.pixels for image in inputs])))


@dataclass(frozen=True)
class NetworkFile:
    """A file that ends in the outputs of the network."""

    session: Session
    categories: CategoryTable
    merging: MergingSettings

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict images of one size as a batch, and merge.

        Raises:
            ValueError: an output is not finite; names the images.
        """
        found = _run_named(self.session, {INPUT: normalized(inputs).numpy()}, inputs)
        tensors = {name: torch.from_numpy(output) for name, output in found.items()}
        if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
            raise _not_finite(bad[0], inputs)
        sizes = [ImageSizes(image.size, image.size, image.original) for image in inputs]
        return predict_panoptic(as_network_output(len(self.categories.things), tensors), sizes, self.merging)


@dataclass(frozen=True)
class MergingFile:
    """A file that ends in the panoptic map of a single image."""

    session: Session
    categories: CategoryTable
    merging: MergingSettings

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict images one after another.

        Raises:
            ValueError: an output is not finite; names the image.
        """
        return tuple(map(self._predict_one, inputs))

    def _predict_one(self, image: NetworkInput) -> PanopticPrediction:
        options = panoptic_inputs(self.merging, image.original)
        found = _run_named(self.session, {INPUT: normalized([image]).numpy(), **options}, [image])
        if not found["finite"]:
            raise _not_finite("outputs", [image])
        return as_prediction(found, self.categories)


def _run_named(session: Session, given: Mapping[str, Array], inputs: Sequence[NetworkInput]) -> dict[str, Array]:
    try:
        return run_onnx(session, given)
    except Exception as error:  # ONNX Runtime's errors have no other base class
        if is_lack_of_memory(error):
            raise
        issue = f"ONNX Runtime cannot run the exported network ({printable(error)}); export it again"
        raise ValueError(f"{_named(inputs)}: {issue}") from error


def _not_finite(what: str, inputs: Sequence[NetworkInput]) -> ValueError:
    return ValueError(f"{_named(inputs)}: the {what} of the exported network are NaN or infinite; export it again")


def _named(inputs: Sequence[NetworkInput]) -> str:
    return ", ".join(image.name for image in inputs)
