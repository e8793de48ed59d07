"""Zip archives whose names are bytes in any encoding, without the flag for UTF-8."""

import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_raw_zip(path: Path, content: Mapping[bytes, bytes], extra: bytes = b"") -> None:
    """Write files under names of at least three bytes; `extra` are the extra fields of each."""
    raw_names = {f"{number:03d}".encode().ljust(len(raw), b"~"): raw for number, raw in enumerate(content)}
    with zipfile.ZipFile(path, "w") as archive:
        for placeholder, raw in raw_names.items():
            info = zipfile.ZipInfo(placeholder.decode())
            info.extra = extra
            archive.writestr(info, content[raw])
    data = path.read_bytes()
    for placeholder, raw in raw_names.items():
        data = data.replace(placeholder, raw)
    path.write_bytes(data)
