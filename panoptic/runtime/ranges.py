"""Ranges of settings, stated beside the type of each field: `epochs: Annotated[int, Within(1, 100_000)] = 12`.

Upper limits are far beyond any use. They end what could only be a slip or an attack in a message, before it takes the
memory of the machine or a day.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Protocol, get_args, get_origin, get_type_hints

_TYPES: Mapping[object, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    bool: ((bool,), "true or false"),
}


class Rule(Protocol):
    """Values that a setting may have beyond its type; as a text, what to give."""

    def accepts(self, value: object) -> bool:
        """Tell whether a value of the right type is allowed."""


@dataclass(frozen=True)
class Within:
    """Numbers from `least` to `most`; NaN is in no range."""

    least: float
    most: float
    excluded: float | None = None
    """A limit that is itself outside."""
    hint: str = ""
    """What to give, where the limits alone do not say it."""

    def accepts(self, value: object) -> bool:
        """See `Rule.accepts`."""
        return isinstance(value, int | float) and self.least <= value <= self.most and value != self.excluded

    def __str__(self) -> str:
        least = "a number above" if self.excluded == self.least else "at least"
        most = "less than" if self.excluded == self.most else "at most"
        return self.hint or f"give {least} {self.least} and {most} {self.most}"


@dataclass(frozen=True)
class OneOf:
    """Names of which one is to be chosen."""

    names: tuple[str, ...]

    def accepts(self, value: object) -> bool:
        """See `Rule.accepts`."""
        return value in self.names

    def __str__(self) -> str:
        return f"choose one of {', '.join(self.names)}"


@dataclass(frozen=True)
class NotEmpty:
    """Texts that cannot be left empty."""

    def accepts(self, value: object) -> bool:
        """See `Rule.accepts`."""
        return bool(value)

    def __str__(self) -> str:
        return "give a name or path"


Fraction = Annotated[float, Within(0, 1)]
PartialFraction = Annotated[float, Within(0, 1, excluded=1)]
"""A rate such as that of dropout, with which something has to be left."""
Factor = Annotated[float, Within(0, 10**6)]
PositiveFactor = Annotated[float, Within(0, 10**6, excluded=0)]
Side = Annotated[int, Within(1, 65_536)]
"""Side of an image in pixels."""
Count = Annotated[int, Within(0, 10**9)]
PositiveCount = Annotated[int, Within(1, 10**9)]
BatchSize = Annotated[int, Within(1, 65_536)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
Workers = Annotated[
    int, Within(-1, 1024, hint="give the number of processes, 0 for none, or -1 for one per core; at most 1024")
]
Name = Annotated[str, NotEmpty()]


def require_ranges(settings: object, section: str) -> None:
    """Check every field of a dataclass against its type and the rules beside it; dataclasses inside check themselves.

    Raises:
        ValueError: a value is of another type or outside its range; names the key and what to give.
    """
    for name, hint in typed_fields(type(settings)).items():
        for key, value, wanted in _issues(f"{section}.{name}", getattr(settings, name), hint):
            raise ValueError(f"{key} is {shown(value)}; {wanted}")


def typed_fields(schema: type[object]) -> Mapping[str, object]:
    """Return the types of a dataclass's fields by name, with the rules beside them."""
    return get_type_hints(schema, include_extras=True)


def rules_of(hint: object) -> tuple[Rule, ...]:
    """Return the rules beside a type."""
    return tuple(getattr(hint, "__metadata__", ()))


def shown(value: object) -> str:
    """Show a value in a message, shortened; a whole number may have more digits than Python prints."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a whole number of {value.bit_length()} bits"
    return f"{value!r:.60}"


def _issues(key: str, value: object, hint: object) -> Iterator[tuple[str, object, object]]:
    """Yield key, value and what to give instead, for everything that is wrong with a value."""
    rules, plain = rules_of(hint), get_args(hint)[0] if get_origin(hint) is Annotated else hint
    inner = [part for part in get_args(plain) if part is not NoneType]
    if isinstance(value, list) and get_origin(plain) is list:
        for index, item in enumerate(value):
            yield from _issues(f"{key}[{index}]", item, inner[0])
    elif get_origin(plain) is list:
        yield key, value, "give a list"
    elif inner:  # optional
        if value is not None:
            yield from _issues(key, value, inner[0])
    elif plain not in _TYPES:
        if not isinstance(value, plain if isinstance(plain, type) else object):
            yield key, value, "give keys and values"
    elif not isinstance(value, _TYPES[plain][0]) or (isinstance(value, bool) and plain is not bool):
        yield key, value, f"give {_TYPES[plain][1]}"
    else:
        yield from ((key, value, rule) for rule in rules if not rule.accepts(value))
