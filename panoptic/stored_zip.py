"""Zip files whose bytes depend on their content alone: nothing is packed, no date, no machine."""

import zipfile


def add_file(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file to an archive opened for writing with `ZIP_STORED`."""
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
    archive.writestr(entry, data)
