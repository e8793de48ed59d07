"""Bringing the archives of a dataset to its folder: found there, linked from another folder, or downloaded.

Each is verified once, on arrival: against its published size and checksum, or, if none is known, against the checksum
of the first one that arrived. After that it is neither fetched nor read again as long as it does not change.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Annotated

from tqdm import tqdm

from panoptic.datasets.description import Archive
from panoptic.datasets.download.fetching import Patience, Wanted, fetch
from panoptic.datasets.download.partial_file import HEAD, Origin, PartialFile, other_content, partial_paths, read_pieces
from panoptic.datasets.download.records import ArchiveRecords
from panoptic.datasets.download.unpacking import repack_tar, require_disk, unpack_zip
from panoptic.datasets.layout import Part
from panoptic.io.errors import DatasetError, Issues
from panoptic.runtime.ranges import Within, require_ranges

# An estimate, to report early that a disk is too small; the true size of an entry is checked before it is unpacked.
UNPACKED_RATIO = 2


@dataclass(frozen=True)
class DownloadSettings:
    """The `download` section of params.yaml: where archives come from, and how patiently they are fetched.

    Attributes:
        mirrors: base addresses, to which the name of an archive is appended; tried in order before the official one.
        from_folder: a folder of archives that were fetched already; they are linked, not changed.
        test: also fetch the split without annotations.
        published: if false, the archives are others in the same layout, such as a subset: no published size, checksum
            or number of images is expected, and the official addresses are not used.
    """

    mirrors: list[str] = field(default_factory=list)
    from_folder: str = ""
    test: bool = False
    published: bool = True
    connections: Annotated[int, Within(1, 256)] = 4
    retries: Annotated[int, Within(0, 1000)] = 8  # of one address in a row, without any new byte
    timeout_s: Annotated[float, Within(0, 100_000, excluded=0)] = 60.0  # of silence
    backoff_s: Annotated[float, Within(0, 100_000)] = 1.0  # before the first retry; doubles each time

    def __post_init__(self) -> None:
        require_ranges(self, "download")
        for mirror in self.mirrors:
            if not mirror.startswith(("http://", "https://")):
                raise ValueError(f"download.mirrors: '{mirror}' should begin with http:// or https://")


@dataclass(frozen=True)
class _Order:
    """An archive, what it must be and where to fetch it, and its path if it is already there."""

    archive: Archive
    wanted: Wanted
    here: Path | None

    def is_done(self, records: ArchiveRecords) -> bool:
        found = records.current(self.archive.path)
        return found is not None and self.wanted.sha256 in (None, found)


def obtain(
    archives: Sequence[Archive], splits: Sequence[str], settings: DownloadSettings, records: ArchiveRecords
) -> Mapping[str, str]:
    """Bring all `archives` to their paths and unpack what `splits` need; returns their SHA-256 by path.

    Complete files are left alone. Raises `DatasetError`, with the issues of all archives together, for one that cannot
    be fetched or is not the expected one, and, before anything is fetched, if the disk is too small.
    """
    orders = [_order(archive, settings, records) for archive in archives]
    _require_disk(orders, splits, settings, records)
    _carry_out([order for order in orders if not order.is_done(records)], settings, records)
    if settings.published:
        _require_content(archives, records.root)
    return {archive.path: _unpack(archive, splits, records) for archive in archives}


def _order(archive: Archive, settings: DownloadSettings, records: ArchiveRecords) -> _Order:
    addresses = [f"{mirror.rstrip('/')}/{archive.name}" for mirror in settings.mirrors]
    target = records.root / archive.path
    if settings.published:
        size = archive.bytes if archive.sha256 else None
        wanted = Wanted(target, (*addresses, archive.address), size, archive.sha256)
    else:
        wanted = Wanted(target, tuple(addresses), None, records.last(archive.path))
    folder = Path(settings.from_folder) if settings.from_folder else None
    if folder and not folder.is_dir():
        raise DatasetError(f"download.from_folder: there is no folder {folder}; correct the path")
    here = target if target.exists() else folder and folder / archive.name
    return _Order(archive, wanted, here if here and here.is_file() else None)


def _require_content(archives: Sequence[Archive], root: Path) -> None:
    """Raise `DatasetError` unless the archives whose own digests are unknown have the files that were published."""
    issues = Issues()
    for archive in archives:
        if expected := archive.content_sha256:
            path = root / archive.path
            try:
                found = Part(path, archive.content).sha256()
            except DatasetError as error:
                issues.add(f"{path}: is damaged ({str(error).removeprefix(f'{path}: ')}); remove or replace it")
            else:
                if found != expected:
                    issues.add(f"{path}: its files have SHA-256 {found}, expected {expected}; remove or replace it")
    issues.raise_if_any(f"{root}: archives, compared with the published files")


def _require_disk(
    orders: Sequence[_Order], splits: Sequence[str], settings: DownloadSettings, records: ArchiveRecords
) -> None:
    """Raise `DatasetError` unless there is room for everything that is still to be fetched and unpacked."""
    needed = 0
    for order in orders:
        size = order.archive.bytes if settings.published else 0
        part, _ = partial_paths(order.wanted.target)
        if not order.here:
            needed += max(0, size - (part.stat().st_size if part.exists() else 0))
        if not all((records.root / output).exists() for output in order.archive.outputs(splits)):
            needed += UNPACKED_RATIO * size
    require_disk(records.root, needed, "fetching and unpacking the archives")


class _Display:
    """A progress bar for the bytes of all archives; setting `stopped` ends the threads that advance it."""

    def __init__(self, todo: Sequence[_Order]) -> None:
        self.stopped = Event()
        self._lock = Lock()
        total = sum(order.wanted.bytes or 0 for order in todo)
        self._bar = tqdm(total=total or None, desc="archives", unit="B", unit_scale=True, disable=None)

    def advance(self, count: int) -> None:
        if self.stopped.is_set():
            raise CancelledError
        with self._lock:
            self._bar.update(count)

    def tell(self, line: str) -> None:
        with self._lock:
            self._bar.write(line)

    def close(self) -> None:
        self._bar.close()


def _carry_out(todo: Sequence[_Order], settings: DownloadSettings, records: ArchiveRecords) -> None:
    """Bring several archives at a time; one that fails does not stop the others."""
    if not todo:
        return
    display = _Display(todo)
    patience = Patience(settings.retries, settings.timeout_s, settings.backoff_s, display.stopped.wait)
    issues = Issues()
    pool = ThreadPoolExecutor(settings.connections)
    try:
        for work in as_completed([pool.submit(_bring, order, patience, records, display) for order in todo]):
            with issues.collected():
                work.result()
    finally:
        display.stopped.set()  # matters after Ctrl-C or a disk error only: otherwise no thread is left
        pool.shutdown(cancel_futures=True)
        display.close()
    known = (
        "their published sizes and checksums" if settings.published else f"the first that arrived, see {records.path}"
    )
    issues.raise_if_any(f"{records.root}: archives, compared with {known}")


def _bring(order: _Order, patience: Patience, records: ArchiveRecords, display: _Display) -> None:
    """Bring one archive to its path, and record it."""
    target = order.wanted.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if order.here:
        digest, origin = _checked(order.here, order.wanted, display.advance), str(order.here)
        if order.here != target:
            _link(order.here, target, display.advance)
        for left_over in partial_paths(target):
            left_over.unlink(missing_ok=True)
    else:
        digest, origin = fetch(order.wanted, patience, display.advance, display.tell)
    records.add(order.archive.path, digest)
    display.tell(f"{target.name}: {target.stat().st_size} bytes from {origin}, SHA-256 {digest}")


def _checked(path: Path, wanted: Wanted, advance: Callable[[int], None]) -> str:
    """Return the SHA-256 of a file that the user provided. Raises `DatasetError` if it is not the archive."""
    hint = "remove or replace it"
    if wanted.bytes not in (None, path.stat().st_size):
        raise DatasetError(f"{path}: has {path.stat().st_size} bytes, expected {wanted.bytes}; {hint}")
    digest, head = hashlib.sha256(), b""
    for piece in read_pieces(path):
        head = head or piece[:HEAD]
        digest.update(piece)
        advance(len(piece))
    if other := other_content(head, wanted.target.name):
        raise DatasetError(f"{path}: is {other}; {hint}")
    if wanted.sha256 not in (None, digest.hexdigest()):
        raise DatasetError(f"{path}: has SHA-256 {digest.hexdigest()}, expected {wanted.sha256}; {hint}")
    return digest.hexdigest()


def _link(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    """Make `source` available at `target`: by a hard link, else a symbolic link, else a copy."""
    target.unlink(missing_ok=True)  # at most a broken link
    for link in (os.link, os.symlink):
        with suppress(OSError):
            link(source.resolve(), target)
            return
    copy = PartialFile(target, advance)
    copy.begin(Origin(str(source), source.stat().st_size, ""))
    copy.append(read_pieces(source))
    copy.finish()


def _unpack(archive: Archive, splits: Sequence[str], records: ArchiveRecords) -> str:
    """Unpack what is still missing of an archive; returns its SHA-256."""
    digest = records.last(archive.path)
    assert digest
    due = [output for output in archive.outputs(splits) if records.current(output) != digest]
    if due:
        print(f"{archive.name}: unpacking {', '.join(due)}")
        if archive.repacked:
            repack_tar(records.root / archive.path, records.root / archive.repacked)
        else:
            unpack_zip(records.root / archive.path, due, records.root)
    for output in due:
        records.add(output, digest)
    return digest
