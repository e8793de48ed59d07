"""The part of a stage's work that one of several programs does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The part of the work that one of `of` programs does; `number` counts from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"--share {self.number}/{self.of}; give the number of the share, from 1, and of how many")

    def __str__(self) -> str:
        return f"share {self.number} of {self.of}"

    @classmethod
    def parse(cls, text: str) -> "Share":
        """`2/4`. Raises `ValueError` for another form."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise ValueError(f"--share {text!r} is not of the form NUMBER/OF, as in 2/4")
        return cls(int(number), int(of))

    def choose(self, items: Sequence[T]) -> Sequence[T]:
        """Those of the items that are this share's: all shares together have each of them once."""
        return items[self.number - 1 :: self.of]

    @property
    def is_last(self) -> bool:
        """Whether no other share has fewer items."""
        return self.number == self.of
