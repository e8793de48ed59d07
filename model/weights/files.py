"""Files of weights that others pickled: read without running any code in them."""

import pickle
import re
import struct
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_DAMAGE = (
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OSError,
    AssertionError,
    struct.error,
)
"""What reading cut or overwritten files was seen to raise."""


class PickledWeightsError(ValueError):
    """A file that is no pickle of weights, is damaged, or asks for code to be run."""


def is_safetensors(path: Path) -> bool:
    """Whether a file starts as a safetensors file does, whatever its name. Raises for a missing file."""
    if not path.is_file():
        raise PickledWeightsError(f"{path}: there is no such file; check the path")
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_pickle(path: Path) -> object:
    """What a file written by `torch.save` holds; only tensors and plain values are unpickled.

    Raises:
        PickledWeightsError: it is something else, is damaged, or asks for code to be run.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if not start.startswith((_ZIP, _PICKLE)):
        raise PickledWeightsError(f"{path}: is no PyTorch checkpoint (starts with {start!r}); fetch the file again")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PickledWeightsError(f"{path}: {_refusal(str(error))}") from None
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise PickledWeightsError(f"{path}: is damaged, or no PyTorch checkpoint ({reason}); fetch it again") from None


def _refusal(message: str) -> str:
    """Why the unpickler stopped. Its own message advises to load the file with the check turned off."""
    asked = re.search(r"GLOBAL (\S+)", message)
    if asked:
        return (
            f"asks to run code ({asked[1].rstrip('.')}); nothing of it was run. Weights need none: take the file from "
            "its authors, or have its owner save the state dict alone"
        )
    detail = re.search(r"Unpickler error:\s*(.+)", message)
    reason = detail[1] if detail else "unknown content"
    return f"cannot be read as weights ({reason}); nothing of it was run; fetch it again"


_PARALLEL = "module."
WRAPPERS = ("state_dict", "model")
"""Keys under which the authors' files hold the weights; the rest is about their training."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, whatever its suffix.

    Raises:
        PretrainedError, PickledWeightsError: no such file, or one that is damaged, asks for code to be run, or holds
            no weights.
    """
    document = _read_safetensors(path) if is_safetensors(path) else read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(document, dict) and isinstance(document.get(wrapper), dict):
            document = document[wrapper]
    if not isinstance(document, dict) or not document:
        raise PretrainedError(f"{path}: holds {str(document)[:60]}; expected names and tensors")
    wrong = [str(name) for name, value in document.items() if not isinstance(value, Tensor)]
    if wrong:
        raise PretrainedError(f"{path}: expected names and tensors only; not so: {', '.join(wrong[:5])}")
    prefix = _PARALLEL if all(name.startswith(_PARALLEL) for name in document) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in document.items()}


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise PretrainedError(f"{path}: cannot be read as safetensors ({error}); fetch it again") from error


class PretrainedError(PickledWeightsError):
    """Weights that are not there, cannot be read, or do not fit the backbone."""
