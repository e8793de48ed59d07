"""The error for wrong data, a collector that reports many issues of a dataset at once, and the causes of errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

SHOWN_ISSUES = 20
# What libraries say in errors of their own: torch on a CPU, CUDA and its libraries, and OpenCV.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "Insufficient memory",
)


class DatasetError(ValueError):
    """Data of the user is wrong. The message names the file, what was found there, and what to do about it."""


@dataclass
class Issues:
    """Collects issues, so that a dataset can be repaired in one go instead of one error at a time."""

    messages: list[str] = field(default_factory=list)

    def add(self, message: str) -> None:
        self.messages.append(message)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Turn a `DatasetError` raised in the block into an issue; the rest of the block is skipped."""
        try:
            yield
        except DatasetError as error:
            self.add(str(error))

    def raise_if_any(self, subject: str) -> None:
        """Raise `DatasetError` with the first issues and their number; do nothing if there are none."""
        if not self.messages:
            return
        count = len(self.messages)
        lines = [f"{subject}: {count} issue{'s' if count > 1 else ''} found"]
        lines += [f"  - {message}" for message in self.messages[:SHOWN_ISSUES]]
        if count > SHOWN_ISSUES:
            lines.append(f"  ... and {count - SHOWN_ISSUES} more")
        raise DatasetError("\n".join(lines))


@contextmanager
def naming_memory(where: str) -> Iterator[None]:
    """Turn a lack of memory into a `DatasetError` that names the image `where` it ran out."""
    try:
        yield
    except MemoryError:
        hint = "give a smaller image, fewer workers or more memory"
        raise DatasetError(f"{where}: the image has more pixels than there is memory for; {hint}") from None


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, also where a library says so in an error of another type."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY)


def shown_ids(ids: Sequence[object], count: int = 20, separator: str = ", ") -> str:
    """Format the first ids or names of a list, and the number of others, for a message."""
    more = f" and {len(ids) - count} more" if len(ids) > count else ""
    return separator.join(map(str, ids[:count])) + more


def root_cause(error: BaseException) -> str:
    """Describe the root cause of an error that libraries have wrapped several times."""
    *_, root = causes(error)
    return str(root) or type(root).__name__


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what caused it, and so on down to the root cause."""
    while error:
        yield error
        error = error.__cause__ or error.__context__
