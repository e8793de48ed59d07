"""What decides how a machine rounds, and what a run took there: time, CPU time, energy.

Energy is what the machine's own counters say, so it includes whatever else ran: RAPL's for the processor packages, and
NVML's for the GPUs.
"""

import ctypes
import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from panoptic.passport.digests import digest_of
from panoptic.runtime.fingerprint import PROJECT

LIBRARIES = ("torch", "numpy", "scipy", "opencv-python-headless", "transformers", "safetensors", "pillow", "deflate")
"""Distributions that decide results."""
VARIABLES = (
    *("PANOPTIC_OPS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("MKL_CBWR", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA"),
)
"""Variables of the environment that may change rounding."""
_POWERCAP = Path("/sys/class/powercap")
_HIGHEST_WATTS = 1000.0


def describe_machine(facts: Mapping[str, object]) -> dict[str, object]:
    """Describe this machine; `facts` is what only the running program knows, such as its threads and device."""
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "torch_record": _record("torch"),
        "extensions": {
            path.name.partition(".")[0]: digest_of(path)
            for pattern in ("model/ops/_*.so", "panoptic/*/_*.so")
            for path in sorted(PROJECT.glob(pattern))
        },
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        **facts,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _record(name: str) -> str | None:
    """SHA-256 of the list of a wheel's files with their digests: wheels of one version differ from index to index."""
    try:
        record = distribution(name).read_text("RECORD")
    except PackageNotFoundError:
        return None
    # pip adds what it writes itself, without a fixed content.
    lines = [line for line in (record or "").splitlines() if not line.startswith(("..", "__pycache__"))]
    kept = sorted(line for line in lines if "/__pycache__/" not in line and ".dist-info/" not in line)
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def read_counters() -> dict[str, float]:
    """The energy counters of this machine that can be read, in joules since they began."""
    joules = dict[str, float]()
    for zone in sorted(_POWERCAP.glob("intel-rapl:[0-9]")):
        try:
            joules[zone.name] = int((zone / "energy_uj").read_text(encoding="utf-8")) / 1e6
        except (OSError, ValueError):
            continue
    return joules | _gpu_counters()


def _gpu_counters() -> dict[str, float]:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}
    count, joules = ctypes.c_uint(), dict[str, float]()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return {}
    for number in range(count.value):
        handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
        if nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)):
            continue
        if not nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
            joules[f"gpu {number}"] = millijoules.value / 1e3
    nvml.nvmlShutdown()
    return joules


def energy_between(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, object]:
    """The energy in joules between two readings of the counters, or the reason why it is not known."""
    if not before or before.keys() != after.keys():
        return {"joules": None, "reason": "no counter of energy can be read (RAPL, NVML)"}
    used = dict[str, float]()
    for name, start in before.items():
        limit = _range(name)
        if limit is not None and seconds * _HIGHEST_WATTS > limit:
            return {"joules": None, "reason": f"the counter {name} may have wrapped around in {seconds:.0f} s"}
        used[name] = round((after[name] - start) % limit if limit else after[name] - start, 1)
    return {"joules": round(sum(used.values()), 1), "counters": used}


def _range(name: str) -> float | None:
    """The value after which a counter of RAPL starts from 0 again, in joules; None for others."""
    path = _POWERCAP / name / "max_energy_range_uj"
    return int(path.read_text(encoding="utf-8")) / 1e6 if path.is_file() else None
