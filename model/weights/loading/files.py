"""Weight files from other projects, including pickled ones, read without running any code in them."""

import mmap
import pickle
import re
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.weights.checks import seal_issue
from model.weights.loading.averages import (
    AVERAGES,
    COPIES,
    USUAL_NAMES,
    WRAPPERS,
    describe_choice,
    exchanged_by_mmcv,
    exchanged_by_mmengine,
    innermost,
    section,
    without_copies,
)
from model.weights.loading.stand_ins import EmptyObject, container_stand_in, keeps_nothing, stand_in
from panoptic.io.errors import DatasetError
from panoptic.io.reading import open_file, require_file

_PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "model.", "network.", "net.")
"""Beginnings of names in files of programs that wrap a network: for several GPUs, to compile it, or to train it."""
_INNER_WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Parts of names in files of programs that wrap parts of a network."""
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
    try:
        with open_file(require_file(path)) as file:
            return file.read(9)[8:] == b"{"
    except DatasetError as error:
        raise WeightsError(str(error)) from None


@dataclass(frozen=True)
class PickledFile:
    """Content of a pickled file."""

    content: object
    emptied: tuple[str, ...]
    """Classes of whose objects nothing is left, because they are neither tensors nor plain values."""


def read_pickle(path: Path) -> PickledFile:
    """Read a file written by `torch.save`, unpickling only tensors and plain values.

    Raises:
        WeightsError: it is something else, is damaged, or asks to run code.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if not start.startswith((_ZIP, _PICKLE)):
        raise WeightsError(f"{path}: is not a PyTorch checkpoint (starts with {start!r}); download it again")
    used: dict[str, Callable[..., object]] = {}
    while True:
        try:
            content = _unpickle(path, used)
            break
        except pickle.UnpicklingError as error:
            name = _refused_name(str(error))
            better = container_stand_in(str(error))
            if better:
                used |= [better]
            elif name not in used and (substitute := stand_in(name)):
                used[name] = substitute
            else:
                raise WeightsError(f"{path}: {_refusal(str(error))}") from None
        except MemoryError:
            found = "asks for more memory than there is: damaged, or too large for this machine"
            raise WeightsError(f"{path}: {found}; download it again, or read it where more memory is free") from None
        except _DAMAGE as error:
            reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
            raise WeightsError(
                f"{path}: is damaged or not a PyTorch checkpoint ({reason}); download it again"
            ) from None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as archive:
        issue = seal_issue(archive) if start.startswith(_ZIP) else None
    if issue:
        raise WeightsError(f"{path}: is damaged ({issue}); copy it again")
    return PickledFile(content, tuple(name for name, substitute in used.items() if keeps_nothing(name, substitute)))


def _unpickle(path: Path, stand_ins: Mapping[str, Callable[..., object]]) -> object:
    allowed: list[Callable[..., object] | tuple[Callable[..., object], str]]
    allowed = [(substitute, name) for name, substitute in stand_ins.items()]
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(allowed):
        return torch.load(path, map_location="cpu", weights_only=True)


def _refused_name(message: str) -> str:
    """Return the name that the unpickler did not accept, with its module; empty if something else stopped it."""
    asked = re.search(r"GLOBAL (\S+) was not an allowed", message)
    if not asked:
        return ""
    return asked[1] if "." in asked[1] else f"builtins.{asked[1]}"


def _refusal(message: str) -> str:
    """Explain why the unpickler stopped. Its own message recommends loading the file with the check disabled."""
    asked = re.search(r"GLOBAL (\S+)", message)
    if asked:
        return (
            f"asks to run code ({asked[1].rstrip('.')}), none of which was run. Weights need none: get the file from "
            "its authors, or have its owner save only the state dict"
        )
    if re.search(r"Unsupported operand|not all operators|pickle protocol", message):
        return (
            "is written in another pickle protocol than torch's own, and cannot be read without running code, none of "
            "which was run; get the file from its authors, or have its owner write it with torch's own protocol"
        )
    detail = re.search(r"Unpickler error:\s*(.+)", message)
    reason = detail[1] if detail else "unknown content"
    return f"cannot be read as weights ({reason}); no code of it was run; download it again"


@dataclass(frozen=True)
class WeightsFile:
    """Weights of a file, and the rest of it."""

    state: dict[str, Tensor]  # without the prefix that wrapping a network adds to every name
    prefix: str
    taken: str
    """Which of several sets of weights was taken; empty if there is only one."""
    meta: Mapping[str, object]
    left_out: tuple[str, ...]  # other things in the file, for example the optimizer's state


def read_weights(path: Path, average: bool = False) -> WeightsFile:
    """Read the tensors of a file by name, whatever its suffix.

    Args:
        path: safetensors file, or what `torch.save` wrote: a state dict, alone or beside other things.
        average: take the moving average of the weights (EMA) that the file holds beside them.

    Raises:
        WeightsError: the file is missing, is damaged, asks to run code, or has no weights or no average of them.
    """
    pickled = PickledFile(_read_safetensors(path), ()) if is_safetensors(path) else read_pickle(path)
    sections = pickled.content if isinstance(pickled.content, dict) else {}
    plain, averaged = section(sections, WRAPPERS), section(sections, AVERAGES)
    main = plain or averaged
    where = f"{path}: '{main}'" if main else f"{path}: the file, which has no key '{WRAPPERS[0]}',"
    named = named_tensors(innermost(sections[main]) if main else pickled.content, where)
    state, others = without_copies(named.state)
    meta = sections.get("meta")
    taken = f"the moving average (EMA) in '{averaged}', as there are no other weights" if main != plain else ""
    exchanged = False
    if plain and averaged:
        exchanged = exchanged_by_mmengine(sections[averaged])
        taken = describe_choice(average, exchanged, f"'{plain}'", f"'{averaged}'")
        if average and not exchanged:  # some averages leave out the buffers
            others = named_tensors(innermost(sections[averaged]), f"{path}: '{averaged}'").state
    elif others:
        exchanged = exchanged_by_mmcv(meta)
        taken = describe_choice(average, exchanged, USUAL_NAMES, COPIES)
    elif average and not averaged:
        raise WeightsError(f"{path}: holds no moving average of the weights (EMA); take the weights themselves")
    known = (main, averaged, "meta")
    return WeightsFile(
        state=state | others if average and not exchanged else state,
        prefix=named.prefix,
        taken=taken,
        meta=meta if main and isinstance(meta, dict) else {},
        left_out=(
            *(str(key) for key in sections if main and key not in known),
            *named.left_out,
            *(f"the content of {name}" for name in pickled.emptied),
        ),
    )


@dataclass(frozen=True)
class NamedTensors:
    """A state dict without the prefix that wrapping a network adds to every name."""

    state: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]  # parts beside the wrapped network, for example of the loss


def named_tensors(state: object, where: str) -> NamedTensors:
    """Check that an object is a state dict, and remove what wrapping a network adds to its names.

    Raises:
        WeightsError: it is something else; `where` names it in the message.
    """
    objects = state.values() if isinstance(state, dict) else [state]
    classes = [type(value).__name__ for value in objects if isinstance(value, EmptyObject)]
    if classes:
        raise WeightsError(
            f"{where} holds objects of {classes[0]}, which are not read, as that would run code; have its owner save "
            "the state dict alone"
        )
    if not isinstance(state, dict) or not state:
        other = "" if isinstance(state, dict) else f" (it holds a {type(state).__name__})"
        raise WeightsError(f"{where} should hold names and tensors, found {str(state)[:60]}{other}")
    wrong = [str(name) for name, tensor in state.items() if not isinstance(name, str) or not _is_plain(tensor)]
    if wrong:
        raise WeightsError(f"{where} should hold names and tensors only; not so: {', '.join(wrong[:5])}")
    prefix, inside = "", list(state)
    # Beside the network, a wrapped one may be trained with a loss that has entries of its own.
    while wrapped := next((part for part in map(prefix.__add__, _PREFIXES) if _begins_most(part, inside)), ""):
        prefix, inside = wrapped, [name for name in inside if name.startswith(wrapped)]
    outside = Counter(name.partition(".")[0] for name in state if not name.startswith(prefix))
    return NamedTensors(
        {_INNER_WRAPPERS.sub("", name.removeprefix(prefix)): state[name] for name in inside},
        prefix,
        tuple(f"{part} ({count} entries)" for part, count in outside.items()),
    )


def _begins_most(prefix: str, names: list[str]) -> bool:
    return 2 * sum(name.startswith(prefix) for name in names) > len(names)


def _is_plain(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and tensor.layout == torch.strided and not tensor.is_quantized


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({error}); download it again") from error
