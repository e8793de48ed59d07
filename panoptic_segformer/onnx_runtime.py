"""Models that `python -m model.export` wrote as ONNX, run by ONNX Runtime on the CPU."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from model.export.files import FORMATS, MERGING
from model.export.onnx_inference import MergingFile, NetworkFile, Session, open_onnx
from model.export.sizes import Sizes
from model.inference.merging import MergingSettings
from model.inference.post_processing import PanopticPrediction
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings
from model.pixels import IMAGE_MEAN, IMAGE_STD
from panoptic.format.categories import CategoryTable
from panoptic.io.json_fields import JsonObject, parse_json
from panoptic.io.printable import printable
from panoptic.io.reading import read_file
from panoptic.runtime.fingerprint import file_digest
from panoptic_segformer.changed_settings import SettingValue, with_changes
from panoptic_segformer.model import Model

_PART_OF_FILE = ("compile", "channels_last", "mask_layer", "precision")
_SIZES = ("shorter", "longer")


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
    file_type = MergingFile if merges else NetworkFile
    return Model(
        OnnxRuntime(file_type(session, categories, chosen.merging), sizes, chosen),
        categories,
        chosen,
        str(path),
        file_digest(path),
    )


class OnnxRuntime:
    """Runs an exported file; see `panoptic_segformer.model.Runtime`."""

    def __init__(self, file: NetworkFile | MergingFile, sizes: Sizes, settings: InferenceSettings) -> None:
        self._file = file
        self._sizes = sizes
        self.settings = settings

    def prepare(self, image: NDArray[np.uint8], name: str) -> NetworkInput:
        """Resize an image to a size that the file accepts.

        Raises:
            ValueError: it is too small or too large.
        """
        return self._sizes.fit(image, name, self.settings.shorter, self.settings.longer)

    def predict(self, inputs: Sequence[NetworkInput]) -> tuple[PanopticPrediction, ...]:
        """Predict images of one size, one after another where the file takes one at a time.

        Raises:
            ValueError: the network's output is not finite; names the images.
        """
        if self._sizes.fixed:
            return tuple(prediction for one in inputs for prediction in self._file.predict([one]))
        return self._file.predict(inputs)


def _open(path: Path) -> Session:
    if find_spec("onnxruntime") is None:
        raise ValueError(f"{path} needs onnxruntime; install the project with its extra 'dev'")
    content = read_file(path)
    try:
        return open_onnx(content)
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
    end = description.child(MERGING) if description.has(MERGING) else description
    described = [output.text("name") for output in end.objects("outputs")]
    names = [output.name for output in session.get_outputs()]
    if described != names:
        raise ValueError(
            f"{where}: the outputs {printable(described)} are not those of the file, {names}; export it again"
        )
    return description
