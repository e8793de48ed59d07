"""What a fuzzer needs to know of one reader or compiled core."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.formats import PLAIN, Format


@dataclass(frozen=True)
class Target:
    """A program of one input, which it has to take, or to refuse as its docstring says.

    `run` gets the input and an empty folder. It may raise errors of the types `refusals` that name the file, `input`
    in that folder; `AssertionError` says that an accepted input gave a wrong result. `seeds` are sound inputs by name.
    """

    name: str
    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Mapping[str, bytes]]
    refusals: tuple[type[Exception], ...]
    format: Format = PLAIN
    names_file: bool = True

    def refused_properly(self, error: Exception) -> bool:
        """Tell whether an error is one that the target may raise."""
        return isinstance(error, self.refusals) and (not self.names_file or "input" in str(error))


@contextmanager
def refusing(error_type: type[Exception]) -> Iterator[None]:
    """Let a part of an input be refused, in a message that names the file, and go on with the next part."""
    try:
        yield
    except error_type as error:
        if "input" not in str(error):
            raise
