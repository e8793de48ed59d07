"""Checking that the package index and the hub of models can be reached."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from panoptic_segformer.doctor.finding import Finding

_SECONDS = 5.0
_HOSTS = {
    "package index": ("PIP_INDEX_URL", "https://pypi.org/simple/", "packages cannot be installed"),
    "model hub": ("HF_ENDPOINT", "https://huggingface.co", "weights cannot be fetched or pushed"),
}
"""By topic: the variable with its address, the default, and what is impossible without it."""
# Run in a process, since looking up a name may take longer than any time limit that Python offers.
_REACH = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=float(sys.argv[2]))
except urllib.error.HTTPError:
    pass  # an answer all the same
except (OSError, ValueError) as error:
    sys.exit(str(getattr(error, "reason", error)))
"""


def _host(address: str) -> str:
    """Return the server of an address, which itself may hold a password."""
    try:
        return urlsplit(address).hostname or address
    except ValueError:  # no address
        return address.rpartition("@")[2]


def inspect_network() -> Iterator[Finding]:
    """Yield the findings; all hosts are asked at the same time."""
    started = []
    for topic, (variable, default, without) in _HOSTS.items():
        address = os.environ.get(variable) or default
        command = (sys.executable, "-c", _REACH, address, str(_SECONDS))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        started.append((topic, address, without, process))
    end = time.monotonic() + _SECONDS + 1
    for topic, address, without, process in started:
        host = _host(address)
        try:
            said = process.communicate(timeout=max(0.1, end - time.monotonic()))[1].strip().rpartition("\n")[2]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            said = f"no answer in {_SECONDS:.0f} s"
        if process.returncode:
            hint = f"{without}; check the connection, and HTTPS_PROXY if there is a proxy (--offline skips this)"
            yield Finding(topic, "warning", f"{host} cannot be reached: {said}", hint)
        else:
            yield Finding(topic, "ok", f"{host} answers")
