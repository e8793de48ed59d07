"""Resident memory of a process, in bytes."""

import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

MEBIBYTE = 2**20


def resident_bytes() -> int:
    """Memory that this process holds now; its peak where the system does not tell."""
    return status_bytes("VmRSS") or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Peak memory of this process."""
    # getrusage's peak starts at that of the process that started this one; the kernel's own does not.
    usage = getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return status_bytes("VmHWM") or usage


def reset_peak() -> None:
    """Start the peak anew, on Linux; elsewhere it keeps what the process has reached before."""
    if (references := Path("/proc/self/clear_refs")).exists():
        references.write_text("5", encoding="utf-8")


def status_bytes(field: str, process: str = "self") -> int:
    """Read one field of /proc/<process>/status (Linux); 0 on other systems."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(found[0]) if found else 0
