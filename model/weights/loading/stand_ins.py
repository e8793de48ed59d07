"""Stand-ins for what pickled files hold beside tensors and plain values, so that it is read without running any code.

Checkpoints carry metadata of their training: numbers of NumPy, and settings as objects of other projects. Numbers
become plain ones, whichever version of NumPy wrote them; objects that stand for values are left empty. Not even
NumPy's own functions are called, since a hostile description of a type can make them read any memory.
"""

import re
import struct
import sys
from _compat_pickle import IMPORT_MAPPING as PYTHON_2_MODULES
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

_INTEGERS = {"i": "bhiq", "u": "BHIQ"}
_FORMATS = {"b1": "?", "f2": "e", "f4": "f", "f8": "d", "c8": "2f", "c16": "2d"} | {
    f"{kind}{1 << power}": letter for kind, letters in _INTEGERS.items() for power, letter in enumerate(letters)
}
"""Formats of `struct` by NumPy's codes of types."""
_BUILTINS = "bool bytes dict float frozenset int list object range slice str tuple"
_VALUES = {
    "__builtin__": _BUILTINS,
    "argparse": "Namespace",
    "builtins": _BUILTINS,
    "collections": "ChainMap UserDict UserList defaultdict deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
"""Classes of the standard library that stand for values."""
_ARRAY = re.compile(r"numpy\.(ndarray|_?core\.multiarray\._reconstruct|dtypes\.\w+|(bool|u?int|float|complex)_?\d*)")
_UNREAD = "unread"
_SCALAR = re.compile(r"numpy\._?core\.multiarray\.scalar")


class EmptyObject:
    """Stands for an object of any class: accepts whatever it is made of, and keeps nothing."""

    def __new__(cls, *_arguments: object) -> "EmptyObject":
        """Ignore the arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...


class PlainDict(EmptyObject):
    """Stands for a subclass of dict: making an object gives a dict, because torch sets entries in nothing else."""

    def __new__(cls, *_arguments: object) -> "PlainDict":
        """Ignore the arguments."""
        return cast("PlainDict", OrderedDict())


class PlainList(EmptyObject):
    """Stands for a subclass of list likewise."""

    def __new__(cls, *_arguments: object) -> "PlainList":
        """Ignore the arguments."""
        return cast("PlainList", [])


class NumberType:
    """Stands for `numpy.dtype`: the type of a single number or text."""

    def __init__(self, code: object, *_flags: object) -> None:
        self.code = str(code)
        self.format = _FORMATS.get(self.code, "")
        self.order = "="

    def __setstate__(self, state: object) -> None:
        """Take the byte order from NumPy's description of a type."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


def plain_number(number_type: object, content: object = b"") -> object:
    """Stand for `numpy.core.multiarray.scalar`: return the plain number or text, or an `EmptyObject` for others."""
    if not isinstance(number_type, NumberType) or not isinstance(content, bytes):
        return EmptyObject()
    form = number_type.order + number_type.format
    if number_type.format and struct.calcsize(form) == len(content):
        parts: tuple[float, ...] = struct.unpack(form, content)
        return complex(*parts) if len(parts) > 1 else parts[0]
    if number_type.code.startswith("U"):
        return content.decode("utf-32-be" if number_type.order == ">" else "utf-32-le", "replace").rstrip("\0")
    return EmptyObject()


def stand_in(name: str) -> Callable[..., object] | None:
    """Return what to use for a name in a pickle; None for one that no value needs, as running code does.

    Outside the standard library classes are told from functions by their capital: nothing is imported to find out.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        return None  # damaged: no class can have this name
    module, _, last = name.rpartition(".")
    root = module.partition(".")[0]
    if name == "numpy.dtype":
        return NumberType
    if _SCALAR.fullmatch(name):
        return plain_number
    if root == "numpy":
        is_value = _ARRAY.fullmatch(name) is not None
    elif root in sys.stdlib_module_names or root in PYTHON_2_MODULES:
        is_value = last in _VALUES.get(module, "").split()
    else:
        is_value = last[:1].isupper()
    return type(name, (EmptyObject,), {"__module__": _UNREAD}) if is_value else None


def keeps_nothing(name: str, substitute: Callable[..., object]) -> bool:
    """Tell whether nothing is left of the objects of a class for which `stand_in` gave `substitute`."""
    is_class = isinstance(substitute, type) and issubclass(substitute, EmptyObject)
    without_items = substitute not in (PlainDict, PlainList)
    return is_class and without_items and not name.startswith(("builtins.", "__builtin__.")) and "._" not in name


def container_stand_in(message: str) -> tuple[str, Callable[..., object]] | None:
    """Return the name whose objects turn out to have items, by torch's message, and what to use for it from then on."""
    found = re.search(rf"Can only (SETITEMS?|append|extend) .*but got <class '{_UNREAD}\.(.+)'>", message)
    return (found[2], PlainDict if found[1].startswith("SETITEM") else PlainList) if found else None
