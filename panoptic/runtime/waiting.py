"""How the threads of OpenMP wait for each other: awake on a quiet machine, asleep on a busy one.

GNU's OpenMP, by which torch computes on a CPU, lets a thread spin until the others are done. That is quickest as long
as each thread has a core. Otherwise those that spin hold the cores which the others wait for, and a training loses
several times the share of the machine that other programs take (`python -m benchmarks.busy` measures it).
"""

import os
import statistics
import time
from pathlib import Path

VARIABLE = "GOMP_SPINCOUNT"
AWAKE, ASLEEP = 3000, 0
"""Rounds that a waiting thread spins before it sleeps. The default, 300 000, is slower under any load."""
SAMPLES, PAUSE = 7, 0.004
"""How often the load is read, as a single reading may meet a program that runs for a moment, and seconds between."""
LOAD = Path("/proc/loadavg")


def choose_waiting() -> None:
    """Set the environment of this process and its children, unless it is set; has an effect before torch is loaded."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(ASLEEP if is_busy() else AWAKE)


def is_busy() -> bool:
    """Return whether other programs occupy cores that our threads would use; False where the load is not known."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = _threads(cores)
    return threads > 1 and others_running() + threads > cores


def others_running() -> int:
    """Count the threads on the machine that run or wait for a core, apart from this one: the median over some time."""
    found = []
    for sample in range(SAMPLES):
        if sample:
            time.sleep(PAUSE)
        try:
            running = int(LOAD.read_text(encoding="ascii").split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):  # not Linux, or hidden
            return 0
        found.append(max(0, running - 1))
    return int(statistics.median(found))


def _threads(cores: int) -> int:
    """Return the number of threads that torch will use."""
    try:
        return int(os.environ["OMP_NUM_THREADS"].partition(",")[0])
    except (KeyError, ValueError):
        return cores
