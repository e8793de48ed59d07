"""Unpacking untrusted archives: nothing is written outside the folder, and nothing fills the disk.

An archive with an entry that would leave the folder, a link, a device, or two entries of one name is refused before
anything is written. An unpacked file may not be larger than its packed size makes plausible, nor than the free disk
space, and must have the right checksum. Each file is written under another name and renamed, so that a kill leaves no
incomplete file.
"""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from panoptic.datasets.download.partial_file import partial_paths
from panoptic.io.errors import DatasetError
from panoptic.io.files import naming_disk_errors
from panoptic.io.names import checked_name, is_litter
from panoptic.io.reading import open_file, require_file
from panoptic.io.zip_entries import DAMAGE

# JSON shrinks to about a tenth; bombs approach the limit of the format, 1032. Small files may have any ratio.
LARGEST_RATIO, SMALL_BYTES = 200, 1 << 20
_PIECE = 1 << 20
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def unpack_zip(archive: Path, entries: Iterable[str], folder: Path) -> None:
    """Unpack `entries` of a zip file to the same names below `folder`.

    Raises `DatasetError` that names the entry if it is missing, refused or damaged.
    """
    with _naming_damage(archive), open_file(archive) as file, zipfile.ZipFile(file) as source:
        infos = source.infolist()
        _refuse_names(archive, [info.orig_filename for info in infos])
        for info in infos:
            file_type = stat.S_IFMT(info.external_attr >> 16)
            if file_type not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
                raise _refusal(archive, info.filename, "is a link, a device or encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.header_offset < 0:
                raise _refusal(archive, info.filename, "is packed by an unusual method, or begins before the archive")
        by_name = {info.filename: info for info in infos}
        for entry in entries:
            if entry not in by_name:
                raise DatasetError(f"{archive}: no file '{entry}' inside; this is not the archive that was expected")
            _unpack_entry(archive, source, by_name[entry], folder)


def repack_tar(archive: Path, target: Path) -> None:
    """Write the files of a tar archive to a zip file, whose bytes depend on them alone.

    They are stored uncompressed, so that each is read in place as fast as a loose file. Raises `DatasetError` that
    names the entry if it is refused or damaged.
    """
    with _naming_damage(archive), tarfile.open(require_file(archive), "r:") as source:
        members = [member for member in source if not member.isdir()]
        _refuse_names(archive, [member.name for member in members])
        for member in members:
            if not member.isreg() or member.issparse():  # sparse: a few bytes can stand for any number of zeros
                raise _refusal(archive, member.name, "is a link, a device or a sparse file")
        require_disk(target.parent, archive.stat().st_size, f"repacking {archive}")
        with _written_beside(target) as file, zipfile.ZipFile(file, "w") as packed:
            for member in members:
                content = source.extractfile(member)
                assert content
                info = zipfile.ZipInfo(PurePosixPath(member.name).as_posix(), _NO_DATE)
                info.file_size = member.size
                if not is_litter(info.filename):
                    with packed.open(info, "w") as entry:
                        shutil.copyfileobj(content, entry, _PIECE)


def _unpack_entry(archive: Path, source: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / info.filename
    if info.file_size > max(LARGEST_RATIO * info.compress_size, SMALL_BYTES):
        raise _refusal(archive, info.filename, f"claims to hold {info.file_size} bytes in {info.compress_size}")
    require_disk(target.parent, info.file_size, f"'{info.filename}' of {archive}")
    with _naming_damage(archive, info.filename), source.open(info) as packed, _written_beside(target) as file:
        shutil.copyfileobj(packed, file, _PIECE)


def _refuse_names(archive: Path, names: Sequence[str]) -> None:
    """Raise `DatasetError` for a name that would leave the folder, or occurs twice, or is a file and a folder."""
    seen, files = set[PurePosixPath](), dict[PurePosixPath, str]()
    for name in names:
        if PureWindowsPath(name).drive:
            raise _refusal(archive, name, "names a drive")
        path = PurePosixPath(checked_name(name, archive))
        if path in seen:
            raise _refusal(archive, name, "occurs twice")
        seen.add(path)
        if not name.endswith("/"):
            files[path] = name
    for path in seen:
        if both := next((files[parent] for parent in path.parents if parent in files), ""):
            raise _refusal(archive, both, "is both a file and a folder")


def _refusal(archive: Path, name: str, what: str) -> DatasetError:
    return DatasetError(f"{archive}: entry {name!r} {what}; do not trust this archive, get it elsewhere")


def require_disk(folder: Path, needed: int, purpose: str) -> None:
    """Raise `DatasetError` if less than `needed` bytes are free where `folder` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"{folder}: {purpose} needs {needed / 1e9:.2f} GB of disk space, but only {free / 1e9:.2f} GB are free;"
            " make room, or set dataset.root to a folder on a larger disk"
        )


@contextmanager
def _naming_damage(archive: Path, name: str = "") -> Iterator[None]:
    """Turn errors of the standard library about a damaged archive into a `DatasetError`."""
    try:
        yield
    except (*DAMAGE, tarfile.TarError) as error:
        where = f"entry '{name}' is" if name else "is"
        raise DatasetError(
            f"{archive}: {where} damaged ({error}); remove the archive to have it fetched again"
        ) from None


@contextmanager
def _written_beside(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write, which is moved to `target` when the block ends without an error."""
    part, _ = partial_paths(target)
    with naming_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
