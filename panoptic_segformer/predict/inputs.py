"""Find the images and videos that the command line names: files, folders, globs, zip files, addresses, `-`.

Arguments keep their order; files of a folder, an archive or a glob are in natural order (`2.jpg` before `10.jpg`). What
is given twice is predicted once. Files in folders and archives are images or videos by their suffix, a file that is
named itself is one whatever it is called.
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from panoptic.datasets.layout import describe_left_out, describe_skipped, is_image
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import FileSource, open_files
from panoptic.io.folder import Folder, spelled_on_disk
from panoptic.io.names import is_litter
from panoptic.io.reading import describe_unusable
from panoptic.io.zip_archive import ZipArchive
from panoptic.io.zip_entries import LARGEST_BYTES
from panoptic.tools.convert.finding import FileFinder, is_inside
from panoptic_segformer.predict.web import SCHEMES, WebAddress
from panoptic_segformer.video import VIDEO_SUFFIXES

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
STANDARD_INPUT = "-"
_VIDEO_HINT = "videos are read from files alone, so save it in a folder, and give its path"
_PIPE = "pipe an image into it, as in: panoptic predict - < a.jpg"


class ByteSource(Protocol):
    """Source of the bytes of an image."""

    def read(self, name: str) -> bytes:
        """Read an image. Raises `DatasetError` if that fails."""


@dataclass(frozen=True)
class Input:
    """An image or a video.

    `name` is its name in `source`; `group` tells apart equal names of different sources, and `place`, the whole path of
    the source, those of equal groups; `where` stands for it in messages; `origin` is its own, wherever the command
    runs; `identity` changes with its content.
    """

    source: ByteSource = field(compare=False, repr=False)
    name: str
    group: str
    place: PurePosixPath
    where: str
    origin: str
    identity: str

    def read(self) -> bytes:
        """Read the file. Raises `DatasetError` if that fails."""
        return self.source.read(self.name)

    @property
    def files(self) -> FileSource | None:
        """The folder or archive that the file is in, if it is in one."""
        return self.source if isinstance(self.source, Folder | ZipArchive) else None


@dataclass(frozen=True)
class Inputs:
    """Everything to predict, in order, and what was left out, a line each."""

    images: tuple[Input, ...]
    videos: tuple[Input, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _StandardInput:
    content: bytes

    def read(self, _name: str) -> bytes:
        return self.content


def is_video(name: str) -> bool:
    """Tell by its suffix whether a file is a video."""
    return PurePosixPath(name.lower()).suffix in VIDEO_SUFFIXES


def natural_key(name: str) -> list[str | int]:
    """Order names as people do: by text, and numbers in them by value."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if position % 2 else part for position, part in enumerate(parts)]


def find_inputs(arguments: Sequence[str], out: Path) -> Inputs:
    """Find all images and videos; results of earlier runs in the folder `out` are none.

    Raises `DatasetError` for an argument that is nothing of all this, and if nothing is found.
    """
    notes: list[str] = []
    found: dict[str, Input] = {}
    repeated = []
    for argument in arguments:
        for each in _inputs_of(argument, out, notes):
            if found.setdefault(each.origin, each) is not each:
                repeated.append(each.where)
    if repeated:
        notes.append(f"given more than once and predicted once: {len(repeated)} ({shown_ids(repeated, 3)})")
    if not found:
        left_out = f" ({'; '.join(notes)})" if notes else ""
        hint = "give images such as .jpg or .png, or folders or zip files of such"
        raise DatasetError(f"{', '.join(arguments)}: there are no images{left_out}; {hint}")
    images = tuple(each for each in found.values() if not is_video(each.name))
    videos = tuple(each for each in found.values() if is_video(each.name))
    return Inputs(images, videos, tuple(notes))


def _inputs_of(argument: str, out: Path, notes: list[str]) -> Iterator[Input]:
    if not argument:  # which would be the current folder
        raise DatasetError("an input is empty, perhaps an unset variable; give a path, or . for the current folder")
    if argument == STANDARD_INPUT:
        yield _from_standard_input()
    elif scheme := _SCHEME.match(argument):
        yield _from_web(argument, scheme[1].lower())
    else:
        path = spelled_on_disk(Path(argument))
        if path.exists() or path.is_symlink():
            yield from _from_path(path, out, notes)
        else:
            yield from _from_glob(argument, out, notes)


def _from_standard_input() -> Input:
    if sys.stdin is None or sys.stdin.isatty():
        raise DatasetError(f"-: standard input is a terminal; {_PIPE}")
    try:
        content = sys.stdin.buffer.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"-: standard input cannot be read ({error.strerror}); {_PIPE}") from None
    if not content:
        raise DatasetError(f"-: standard input is empty or closed; {_PIPE}")
    if len(content) > LARGEST_BYTES:
        raise DatasetError(f"-: standard input has more than {LARGEST_BYTES} bytes; give an image, not a stream")
    digest = hashlib.sha256(content).hexdigest()
    return Input(_StandardInput(content), "stdin", "stdin", PurePosixPath(), "standard input", STANDARD_INPUT, digest)


def _from_web(address: str, scheme: str) -> Input:
    if scheme not in SCHEMES:
        raise DatasetError(f"{address}: {scheme}:// is not fetched; give http://, https://, or the path of a file")
    web = WebAddress(address)
    try:
        found = Input(web, web.name, web.host, web.place, web.shown, web.shown, web.shown)
    except ValueError as error:
        raise DatasetError(f"{address}: is no web address ({error}); check it") from None
    if is_video(found.name):
        raise DatasetError(f"{web.shown}: is a video; {_VIDEO_HINT}")
    return found


def _from_path(path: Path, out: Path, notes: list[str]) -> Iterator[Input]:
    if path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file()):
        yield from _from_files(open_files(path), out, notes)
        return
    if unusable := describe_unusable(path):
        raise DatasetError(f"{path}: {unusable}; give a file that can be read")
    yield _in_folder(Folder(path.parent), path.name, str(path), path.parent.resolve())


def _from_glob(pattern: str, out: Path, notes: list[str]) -> Iterator[Input]:
    is_pattern = any(character in pattern for character in "*?[")
    root = Path(Path(pattern).anchor)
    matches = root.glob(str(Path(pattern).relative_to(root))) if is_pattern else ()
    paths = [path for path in matches if not (is_litter(path.as_posix()) or is_inside(path, out))]
    if not paths:
        found = "no file matches" if is_pattern else "there is no such file, folder or zip file"
        raise DatasetError(f"{pattern}: {found}; check the path")
    folders = {path for path in paths if path.is_dir()}
    unusable = {path: why for path in paths if path not in folders and (why := describe_unusable(path))}
    known = {path for path in paths if is_image(path.name) or is_video(path.name) or path.suffix.lower() == ".zip"}
    left_out = describe_left_out(path.name for path in paths if path not in folders | unusable.keys() | known)
    notes += [f"{pattern}: {found}" for found in left_out]
    notes += [f"{pattern}: '{path}' {why}" for path, why in unusable.items()]
    if "**" in pattern:  # which lists what is in folders itself
        known -= folders
    else:
        known |= folders
    for path in sorted(known - unusable.keys(), key=lambda path: natural_key(path.as_posix())):
        yield from _from_path(path, out, notes)


def _from_files(files: FileSource, out: Path, notes: list[str]) -> Iterator[Input]:
    """Yield the images of a folder or an archive, and the videos of a folder."""
    is_folder = isinstance(files, Folder)
    if is_folder and files.path.resolve() == out.resolve():  # the next run would take its results for images
        raise DatasetError(f"{files.path}: is --out as well; write the results elsewhere, or to a folder in it")
    names = FileFinder(files, "", apart=out if is_folder else None).names
    chosen = [name for name in names if is_image(name) or (is_folder and is_video(name))]
    left_out = [*describe_left_out(name for name in names if not is_video(name)), *describe_skipped(files)]
    if not is_folder and (packed := list(filter(is_video, names))):
        count = "1 video" if len(packed) == 1 else f"{len(packed)} videos"
        left_out.append(f"{count} left out: {shown_ids(packed, 3)}; {_VIDEO_HINT}")
    notes += [f"{files.path}: {found}" for found in left_out]
    if not chosen and not left_out:
        notes.append(f"{files.path}: it is empty")
    absolute = files.path.resolve()
    for name in sorted(chosen, key=natural_key):
        if isinstance(files, Folder):
            yield _in_folder(files, name, str(files.path / name), absolute)
        elif isinstance(files, ZipArchive):
            where, origin, identity = f"{files.path}: {name}", f"{absolute}: {name}", ""
            with suppress(DatasetError):  # said when it is read
                entry = files.entry(name)
                identity = f"{entry.crc:08x} {entry.size}"
            place = PurePosixPath(absolute.with_name(files.path.name))
            yield Input(files, name, files.path.stem, place, where, origin, identity)


def _in_folder(folder: Folder, name: str, where: str, absolute: Path) -> Input:
    identity = ""
    with suppress(DatasetError, OSError):  # said when it is read
        state = folder.path_of(name).stat()
        identity = f"{state.st_size} {state.st_mtime_ns}"
    group, place = absolute.name or "root", PurePosixPath(absolute)
    return Input(folder, name, group, place, where, str(absolute / name), identity)
