"""The error for wrong data, a collector that reports many issues of a dataset at once, and the causes of errors."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from panoptic.io.printable import printable

SHOWN_ISSUES = 20
_LONGEST_NAME = 200
_FULL = "free disk space or choose another folder"
_FORBIDDEN = "allow it or choose another folder"
HINTS: Mapping[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: _FORBIDDEN,
    errno.EFBIG: "allow larger files (ulimit -f) or choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "remove what is there or choose another folder",
    errno.ENOTDIR: "remove the file where a folder should be or choose another folder",
    errno.ELOOP: "links lead in a circle; give the path of a file or folder",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "end other programs, which have too many files open",
}
"""What to do about an error of the system, by its number."""
# What libraries say in errors of their own: torch on a CPU, CUDA and its libraries, and OpenCV.
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "Insufficient memory",
)


class DatasetError(ValueError):
    """Data of the user is wrong. The message names the file, what was found there, and what to do about it.

    It consists of `lines`, mostly of one, which stay lines whatever the names in them contain.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*map(printable, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


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
        lines = [f"{printable(subject)}: {count} issue{'s' if count > 1 else ''} found"]
        lines += [f"  - {message}" for message in self.messages[:SHOWN_ISSUES]]
        if count > SHOWN_ISSUES:
            lines.append(f"  ... and {count - SHOWN_ISSUES} more")
        raise DatasetError(*"\n".join(lines).split("\n"))  # a message may have lines of its own


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
    return separator.join(map(printable, ids[:count])) + more


def describe_os_error(error: OSError) -> str:
    """Describe an error of the system by the file, if it is of one, what was found, and what to do about it."""
    if error.filename is None or error.errno is None:
        return str(error)
    name = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
    return printable(f"{shortened(name)}: {error.strerror}; {HINTS.get(error.errno, 'check the path and its disk')}")


def shortened(name: object) -> str:
    """Return a name or path for a message, without its middle if it is very long."""
    text, half = str(name), _LONGEST_NAME // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[:half]}...{text[-half:]}"


def root_cause(error: BaseException) -> str:
    """Describe the root cause of an error that libraries have wrapped several times."""
    *_, root = causes(error)
    return str(root) or type(root).__name__


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what caused it, and so on down to the root cause."""
    while error:
        yield error
        error = error.__cause__ or error.__context__
