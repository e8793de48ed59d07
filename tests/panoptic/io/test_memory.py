"""An image that fills the memory is named instead of ending the program."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

_DECODING = """
import resource, sys
from pathlib import Path
from panoptic.format.id_map import decode_id_map
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
try:
    decode_id_map(Path(sys.argv[1]).read_bytes(), "bomb.png")
except ValueError as error:
    print(error)
"""


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_small_png_of_many_pixels_is_refused_by_name(tmp_path: Path) -> None:
    side = 8192  # 201 MB of rows
    pixels = zlib.compress((b"\0" + bytes(3 * side)) * side)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    command = [sys.executable, "-c", _DECODING, str(tmp_path / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "bomb.png: the image has more pixels than there is memory for; give a smaller" in done.stdout, done.stderr
