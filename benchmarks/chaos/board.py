"""The board on which a disturbed program finds its orders: the other side of `shim.c`."""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

SHIM = Path(__file__).with_name("shim.c")
_SIZE, _WORDS = 512, {"operations": 0, "stop_at": 8, "waiting": 16, "clock_ns": 24, "delay_us": 32}
_WHAT = 40


def compile_shim(folder: Path) -> Path | None:
    """Compile the library that programs are started with; None without a C compiler."""
    compiler, library = shutil.which("cc"), folder / "shim.so"
    if compiler is None:
        return None
    subprocess.run([compiler, "-O2", "-fPIC", "-shared", str(SHIM), "-o", str(library), "-ldl"], check=True)
    return library


class Board:
    """A page of memory that this program shares with all processes of a moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _SIZE)

    def _get(self, name: str) -> int:
        return int(struct.unpack_from("q", self._page, _WORDS[name])[0])

    def _set(self, name: str, value: int) -> None:
        struct.pack_into("q", self._page, _WORDS[name], value)

    @property
    def operations(self) -> int:
        """The number of operations so far that change files."""
        return self._get("operations")

    @property
    def waiting(self) -> bool:
        """True if a process waits before an operation."""
        return self._get("waiting") != 0

    @property
    def what(self) -> str:
        """The operation before which a process has waited last."""
        return self._page[_WHAT:_SIZE].split(b"\0")[0].decode(errors="replace")

    def stop_at(self, operation: int) -> None:
        """Make the process that comes to this operation wait before it."""
        self._set("stop_at", operation)

    def release(self) -> None:
        """Let the waiting process go on."""
        self._set("waiting", 0)

    def move_clock(self, seconds: int) -> None:
        """Move the wall clock of all processes."""
        self._set("clock_ns", seconds * 10**9)

    def slow_down(self, seconds: float) -> None:
        """Delay every operation from now on."""
        self._set("delay_us", round(seconds * 1e6))
