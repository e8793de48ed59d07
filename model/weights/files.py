"""Weight files from other projects, including pickled ones, read without running any code in them."""

import pickle
import re
import struct
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

WRAPPERS = ("state_dict", "model")
"""Keys under which the authors' files store the weights; the rest concerns their training."""
_PARALLEL = "module."
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
"""Exceptions that reading truncated or overwritten files was seen to raise."""


class WeightsError(ValueError):
    """Weights are missing, damaged, of another network, or ask to run code."""


def is_safetensors(path: Path) -> bool:
    """Tell by its first bytes whether a file is a safetensors file, whatever its name.

    Raises:
        WeightsError: there is no such file.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such file; check the path")
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_pickle(path: Path) -> object:
    """Read a file written by `torch.save`, unpickling only tensors and plain values.

    Raises:
        WeightsError: it is something else, is damaged, or asks to run code.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if not start.startswith((_ZIP, _PICKLE)):
        raise WeightsError(f"{path}: is not a PyTorch checkpoint (starts with {start!r}); download it again")
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_refusal(str(error))}") from None
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise WeightsError(f"{path}: is damaged or not a PyTorch checkpoint ({reason}); download it again") from None


def _refusal(message: str) -> str:
    """Explain why the unpickler stopped. Its own message recommends loading the file with the check disabled."""
    asked = re.search(r"GLOBAL (\S+)", message)
    if asked:
        return (
            f"asks to run code ({asked[1].rstrip('.')}), none of which was run. Weights need none: get the file from "
            "its authors, or have its owner save only the state dict"
        )
    detail = re.search(r"Unpickler error:\s*(.+)", message)
    reason = detail[1] if detail else "unknown content"
    return f"cannot be read as weights ({reason}); no code of it was run; download it again"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, whatever its suffix.

    Raises:
        WeightsError: the file is missing, is damaged, asks to run code, or has no weights.
    """
    document = _read_safetensors(path) if is_safetensors(path) else read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(document, dict) and isinstance(document.get(wrapper), dict):
            document = document[wrapper]
    return named_tensors(document, f"{path}: the file")[0]


def named_tensors(state: object, where: str) -> tuple[dict[str, Tensor], str]:
    """Return a state dict without the prefix that distributed training adds to every name, and that prefix.

    Raises:
        WeightsError: it is something else; `where` names it in the message.
    """
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{where} should hold names and tensors, found {str(state)[:60]}")
    wrong = [str(name) for name, tensor in state.items() if not isinstance(name, str) or not _is_plain(tensor)]
    if wrong:
        raise WeightsError(f"{where} should hold names and tensors only; not so: {', '.join(wrong[:5])}")
    prefix = _PARALLEL if all(name.startswith(_PARALLEL) for name in state) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}, prefix


def _is_plain(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.layout == torch.strided and not tensor.is_quantized


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}); download it again") from error
