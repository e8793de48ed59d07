"""From what a user calls weights to the file that holds them, and from the file to a network."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from model.comparators.folder import is_comparator
from model.weights.checkpoint import Checkpoint, load_checkpoint
from model.weights.description import CheckpointError
from model.weights.loading.files import is_safetensors
from model.weights.official.convert import convert
from model.weights.official.released import RELEASED, record
from panoptic.io.errors import shown_ids
from panoptic.io.reading import describe_unusable, require_file
from panoptic_segformer.weights.hub import download
from panoptic_segformer.weights.hub_client import HubAddress
from panoptic_segformer.weights.names import DESCRIPTION, WEIGHTS
from panoptic_segformer.weights.published import fetched_file

ONNX = ".onnx"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ONNX)
_IN_FOLDERS = (WEIGHTS, f"train/{WEIGHTS}", f"runs/train/{WEIGHTS}")
"""Where the weights of a folder are: one with weights, the results of a run, or a whole project."""


@dataclass(frozen=True)
class Source:
    """Weights, and what to call them in a way that finds the same weights again."""

    path: Path
    """A file, or a folder in transformers' layout."""
    name: str
    released: str = ""
    """Key of `RELEASED`, for a published checkpoint."""
    address: HubAddress | None = None
    """Where on the hub it comes from, with the commit as the revision."""


def find(source: str | Path) -> Source:
    """Find weights: a file or folder, the name of a published checkpoint, or a model on the Hugging Face hub.

    A folder in transformers' layout, here or on the hub, is a comparator, and has no file that stands for it.

    Raises:
        ValueError: there are none, or they cannot be fetched; says what was tried, and what there is nearby.
    """
    path, name = Path(source), str(source)
    if not name:  # which would be the current folder
        raise ValueError("no weights are named, perhaps by an unset variable; give a path, or . for the current folder")
    if path.is_dir():
        return Source(path if is_comparator(path) else _in_folder(path), name)
    if path.is_file() or describe_unusable(path):
        return Source(path, name)
    if name in RELEASED:
        return Source(fetched_file(name), name, released=name)
    address = HubAddress.parse(name)
    if address and (address.is_explicit or not _looks_local(path)):
        fetched = download(address, (WEIGHTS, DESCRIPTION), takes_comparators=True)
        folder, name = fetched.folder, str(fetched.address)
        return Source(folder if is_comparator(folder) else folder / WEIGHTS, name, address=fetched.address)
    raise ValueError(_nothing_found(path, name))


def read_checkpoint(source: Source) -> Checkpoint:
    """Load our weights, or convert a published checkpoint in memory, whichever of the published models it is.

    Raises:
        ValueError: the file is damaged, or neither of the two.
    """
    if source.path.suffix == ONNX:
        raise ValueError(f"{source.name}: an exported network, not its weights; give the weights that it was made from")
    if not is_safetensors(source.path) and source.path.suffix != ".safetensors":
        converted = convert(source.path, released=bool(source.released)).checkpoint
        if source.released:
            record(RELEASED[source.released], source.path)
        return converted
    try:
        return load_checkpoint(source.path)
    except ValueError as error:
        if is_comparator(source.path.parent):
            folder = source.path.parent
            raise CheckpointError(
                f"{error}; for a network in transformers' layout, name its folder, {folder}"
            ) from error
        if source.address is None or not isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{source.name}: what arrived cannot be used: {error}. If it was damaged on the way, remove "
            f"{source.path.parents[2]} to have it fetched again; otherwise its owner has to push it again"
        ) from error


def local_weights(source: Path) -> Path:
    """Find our weights on this machine. Raises `ValueError` if there are none, or only those of the authors' code."""
    path = require_file(_in_folder(source) if source.is_dir() else source)
    if not is_safetensors(path):
        raise ValueError(
            f"{path}: is no safetensors file; if it is of the authors' code: panoptic weights convert {path}"
        )
    return path


def _in_folder(folder: Path) -> Path:
    found = next((path for name in _IN_FOLDERS if (path := folder / name).is_file()), None)
    if found is None:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
        there = f"there is {shown_ids(others, 3)}: name the file" if others else "there are no weights in it"
        raise ValueError(f"{folder}: the folder has no {', '.join(_IN_FOLDERS)}; {there}")
    return found


def _looks_local(path: Path) -> bool:
    """Tell whether `owner/name` is more likely a mistyped path: a suffix of weights, or the folder `owner` here."""
    return path.suffix in _SUFFIXES or path.parent.is_dir()


def _nothing_found(path: Path, name: str) -> str:
    close = get_close_matches(name, RELEASED, 1)
    meant = f"; did you mean {close[0]}?" if close else ""
    where = path.parent if path.parent.is_dir() else Path()
    candidates = [
        *(found for found in sorted(where.iterdir()) if found.suffix in _SUFFIXES),
        *(found for place in _IN_FOLDERS if (found := Path(place)).is_file()),
    ]
    nearby = f"Nearby: {shown_ids(candidates, 3)}" if candidates else f"There are no weights in {where.resolve()}"
    return (
        f"{name}: no such weights. Tried: a file or folder (there is none); a published checkpoint "
        f"({', '.join(RELEASED)}){meant}; a model on the Hugging Face hub (owner/name, or hf://owner/name@revision). "
        f"{nearby}"
    )
