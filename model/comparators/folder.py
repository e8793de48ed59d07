"""A folder in the layout of Hugging Face's transformers: what is in it, and the network and image processor that it is.

Nothing in it is run as code, pickles are read as tensors alone, and nothing is downloaded.
"""

import fnmatch
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from model.inference.merging import OWN, MergingSettings
from model.inference.settings import InferenceSettings
from model.weights.checks import is_finite, shown_issues
from model.weights.description import CheckpointError
from panoptic.io.errors import causes, is_lack_of_memory, shown_ids
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.runtime.fingerprint import file_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files of weights, and of the names of their shards, in the order in which transformers takes them."""
LAYOUT = (CONFIG, PROCESSOR, *WEIGHTS)
MODEL_TYPES = ("detr", "eomt", "eomt_dinov3", "mask2former", "maskformer")
THRESHOLDS = ("threshold", "mask_threshold", "overlap_mask_area_threshold")
"""Thresholds of the post-processing, which the file of the image processor may hold; else they are its defaults."""
_OURS = "model.json"
_LOSS = "criterion."
_NEEDS = "give a folder that save_pretrained of transformers wrote, of the network and of its image processor"


@dataclass(frozen=True)
class LoadedFolder:
    """A network in evaluation mode on the CPU, and everything that its use needs."""

    folder: Path
    network: "PreTrainedModel"
    processor: Any  # an image processor of transformers, which has no types
    thresholds: Mapping[str, float]
    """By the names in `THRESHOLDS`."""
    class_names: tuple[str, ...]
    digest: str
    """SHA-256 over the digests of all files."""

    def settings(self, method: str) -> InferenceSettings:
        """Return the settings for a method of merging: those of the image processor, or, for ours, the published ones.

        The sizes are there to be shown, and for tiles: the image processor resizes by its own rules.
        """
        size = self.processor.size
        shorter = size["shortest_edge"] or min(size["height"] or 800, size["width"] or 800)
        longer = size["longest_edge"] or max(size["height"] or shorter, size["width"] or shorter)
        own = MergingSettings(OWN, self.thresholds["threshold"], self.thresholds["mask_threshold"])
        return InferenceSettings(
            shorter, max(shorter, longer), merging=own if method == OWN else MergingSettings(method)
        )


def is_comparator(folder: Path) -> bool:
    """Tell whether a folder is in transformers' layout, complete or not, rather than in ours."""
    return not (folder / _OURS).exists() and any((folder / name).is_file() for name in (CONFIG, PROCESSOR))


def names_of(listed: Sequence[str]) -> list[str]:
    """Choose, among the names of files on the hub, those of a folder that can be loaded; of weights, the first kind."""
    weights = next((name for name in WEIGHTS if name in listed), "")
    stem, _, suffix = weights.removesuffix(".index.json").partition(".")
    shards = fnmatch.filter(listed, f"{stem}-*-of-*.{suffix}") if weights.endswith(".index.json") else []
    return [name for name in (CONFIG, PROCESSOR, weights, *shards) if name in listed]


def files_of(folder: Path) -> Mapping[str, Path]:
    """Return the files that decide what a folder predicts, by name. Raises `CheckpointError` if one is missing."""
    for name in (CONFIG, PROCESSOR):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: has no {name}; {_NEEDS}")
    found = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder}: has no weights, one of {', '.join(WEIGHTS)}; {_NEEDS}")
    names = [found]
    if found.endswith(".index.json"):
        shards = sorted({str(shard) for shard in read_json(folder / found).child("weight_map").values.values()})
        if missing := [shard for shard in shards if "/" in shard or "\\" in shard or not (folder / shard).is_file()]:
            raise CheckpointError(f"{folder / found}: lists {shown_ids(missing, 3)}, not in its folder; copy it again")
        names += shards
    return {name: folder / name for name in (CONFIG, PROCESSOR, *names)}


def load_folder(folder: Path) -> LoadedFolder:
    """Load the network and the image processor of a folder.

    Raises:
        CheckpointError: a file is missing, damaged or of another network, or the type of network is not known here.
    """
    if (folder / CONFIG).is_file():
        _require_type(read_json(folder / CONFIG))
    files = files_of(folder)
    given = read_json(files[PROCESSOR])
    digest = hashlib.sha256("".join(map(file_digest, files.values())).encode()).hexdigest()
    from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

    read_processor: Callable[..., Any] = AutoImageProcessor.from_pretrained
    with _quiet_and_offline(), _naming(folder):
        processor = read_processor(folder, local_files_only=True)
        _require_processor(processor, files[PROCESSOR])
        network, report = AutoModelForUniversalSegmentation.from_pretrained(
            folder,
            local_files_only=True,
            dtype=torch.float32,
            weights_only=True,
            ignore_mismatched_sizes=True,  # they are named below
            output_loading_info=True,
        )
    _require_sound(folder, network, report)
    if getattr(processor, "do_split_image", False):
        raise CheckpointError(f"{files[PROCESSOR]}: do_split_image is for semantic segmentation; {_NEEDS}")
    labels = network.config.id2label or {}
    names = tuple(str(labels.get(label, "")) for label in range(len(labels)))
    defaults = inspect.signature(processor.post_process_panoptic_segmentation).parameters
    thresholds = {name: given.number(name) if given.has(name) else defaults[name].default for name in THRESHOLDS}
    if wrong := [f"{name} is {value:g}" for name, value in thresholds.items() if not 0 <= value <= 1]:
        raise CheckpointError(f"{files[PROCESSOR]}: {wrong[0]}, expected 0..1; correct it")
    return LoadedFolder(folder, network.eval(), processor, thresholds, names, digest)


def _require_type(config: JsonObject) -> None:
    found = config.text("model_type")
    if found == "oneformer":
        raise CheckpointError(
            f"{config.where}: 'oneformer' is told its task in words, for which it needs a tokenizer; score its results "
            "with: panoptic evaluate"
        )
    if found not in MODEL_TYPES:
        raise CheckpointError(f"{config.where}: model_type is {found!r:.60}; expected one of {', '.join(MODEL_TYPES)}")


def _require_processor(processor: Callable[..., object], where: Path) -> None:
    """Check that an image processor can make panoptic maps, and prepare an image, so that no image is blamed for it."""
    if not hasattr(processor, "post_process_panoptic_segmentation"):
        raise CheckpointError(f"{where}: {type(processor).__name__} makes no panoptic maps; {_NEEDS}")
    processor(images=[Image.new("RGB", (64, 64))], return_tensors="pt")


def _require_sound(folder: Path, network: "PreTrainedModel", report: Mapping[str, Any]) -> None:
    """Check the weights that were read, those of the losses aside."""
    issues = [f"{name} is missing" for name in sorted(report["missing_keys"]) if not name.startswith(_LOSS)]
    issues += [
        f"{name} has shape {tuple(found)}, expected {tuple(expected)}"
        for name, found, expected in sorted(report["mismatched_keys"])
        if not name.startswith(_LOSS)
    ]
    issues += [
        f"{name} has NaN or infinite numbers" for name, part in network.state_dict().items() if not is_finite(part)
    ]
    issues += [f"{name!s:.80} is unknown" for name in sorted(report["unexpected_keys"])]
    if issues:
        raise CheckpointError(
            f"{folder}: the weights do not fit the network of {network.config.num_labels} classes that {CONFIG} "
            f"describes; {shown_issues(issues)}; copy all files again"
        )


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name the folder in errors, which transformers raises of any type and length."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        yield
    except CheckpointError:
        raise
    except UnpicklingError as error:
        what = "its pickle is damaged or holds more than tensors, and was not read"
        raise CheckpointError(f"{folder}: {what}; give weights as safetensors") from error
    except Exception as error:
        if is_lack_of_memory(error):
            raise
        said, hint = " ".join(str(error).split()) or type(error).__name__, "copy all files again"
        if any(isinstance(each, OfflineModeIsEnabled) for each in causes(error)):
            said, hint = "a part of it is elsewhere on the hub", f"{CONFIG} has to describe the backbone itself"
        raise CheckpointError(f"{folder}: transformers cannot load it ({said:.200}); {hint}") from error


@contextmanager
def _quiet_and_offline() -> Iterator[None]:
    """Keep transformers off the network and from printing, for the block alone."""
    from huggingface_hub import constants
    from transformers.utils import logging

    before = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    hide: Callable[[], None] = logging.disable_progress_bar
    restore: Callable[[], None] = logging.enable_progress_bar if logging.is_progress_bar_enabled() else hide
    try:
        constants.HF_HUB_OFFLINE = True
        logging.set_verbosity(CRITICAL)
        hide()
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        logging.set_verbosity(before[1])
        restore()
