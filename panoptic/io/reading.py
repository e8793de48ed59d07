"""Opening a file that a user names: what is no file, such as a pipe or a device, is refused and never waited for.

Everything that reads an input goes through here: by `open_file`, by `read_file` or `read_text`, or, for a library that
opens the file itself, by `require_file`.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from panoptic.io.errors import DatasetError

FOLDER = "is a folder"
_SPECIAL = {stat.S_IFIFO: "is a named pipe", stat.S_IFSOCK: "is a socket", stat.S_IFDIR: FOLDER}


def open_file(path: Path) -> io.BufferedReader:
    """Open a file at once. Raises `DatasetError` for what is there but no file, and `FileNotFoundError` for nothing."""
    unusable = describe_unusable(path)  # before opening, which alone has an effect on some devices
    if unusable:
        raise _refusal(path, unusable)
    # What is there may change in between, hence not blocking, and checked again.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise _refusal(path, f"cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refusal(path, describe_unusable(path) or "is no file")
    return os.fdopen(descriptor, "rb")


def require_file(path: Path) -> Path:
    """Return the path of a file for a library that opens it itself. Raises `DatasetError` like `read_file`."""
    with _naming_missing(path), open_file(path):
        return path


def read_file(path: Path) -> bytes:
    """Read a whole file. Raises `DatasetError` for a missing one, for what is no file, and for one of enormous size."""
    try:
        with _naming_missing(path), open_file(path) as file:
            return file.read()
    except (MemoryError, OverflowError):
        size = path.stat().st_size
        raise DatasetError(f"{path}: its {size} bytes are more than there is memory; give a smaller file") from None


def read_text(path: Path) -> str:
    """Read a whole text in UTF-8, with or without a mark of it. Raises `DatasetError` like `read_file`."""
    try:
        text = read_file(path).decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DatasetError(f"{path}: not UTF-8 text, but perhaps UTF-16 or Windows-1252; save it as UTF-8")
    return text


def describe_unusable(path: Path) -> str:
    """Say why there is no file at `path` that can be read; empty if there is one, or nothing at all."""
    try:
        file_type = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return f"is a link to {path.readlink()}, which does not exist" if path.is_symlink() else ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except ValueError:  # no file can have this name
        return ""
    if file_type != stat.S_IFREG:
        return _SPECIAL.get(file_type, "is a device")
    return "" if os.access(path, os.R_OK) else "cannot be read (Permission denied)"


@contextmanager
def _naming_missing(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{path}: there is no such file; check the path") from None


def describe_special(path: Path) -> str:
    """Say what is at `path`, or behind a link there, that is neither a file nor missing; a link in /dev is a device."""
    if path.parent == Path("/dev"):
        return "is a device"
    with suppress(OSError):
        file_type = stat.S_IFMT(path.stat().st_mode)
        return "" if file_type == stat.S_IFREG else _SPECIAL.get(file_type, "is a device")
    return ""


def _refusal(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path}: {what}; give a file that can be read")
