"""Weight files from others, read without running any code that a pickle may contain."""

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
"""Exceptions that reading truncated or overwritten files has been seen to raise."""


class PickledWeightsError(ValueError):
    """A file that is no pickle of weights, is damaged, or asks to run code."""


def is_safetensors(path: Path) -> bool:
    """Tell by its first bytes whether a file is a safetensors file. Raises `PickledWeightsError` for a missing file."""
    if not path.is_file():
        raise PickledWeightsError(f"{path}: there is no such file; check the path")
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_pickle(path: Path) -> object:
    """Read a file written by `torch.save`, unpickling only tensors and plain values.

    Raises:
        PickledWeightsError: the file is something else, is damaged, or asks to run code.
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
    """Explain why the unpickler stopped; its own message advises to turn the check off."""
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
"""Keys under which the authors' files hold the weights; the rest is training state."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, whatever its suffix.

    Raises:
        PretrainedError, PickledWeightsError: the file is missing or damaged, asks to run code, or holds no weights.
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
    """Weights that are missing, cannot be read, or do not fit the backbone."""
