"""Download of the released checkpoints, resumed after dropped connections, and verified.

No page states their sizes and checksums. The first file that arrives and is converted, so that every entry of it fits
the network, is recorded beside itself; any later one has to be the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from model.published.papers import printed
from model.weights.loading.files import WeightsError
from panoptic.datasets.download.fetching import Patience, Wanted, fetch
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import read_json, write_json
from panoptic.io.reading import open_file

_RELEASE = "https://github.com/zhiqi-li/Panoptic-SegFormer/releases/download/v1.0"
PATIENCE = Patience(retries=8, timeout_s=60.0, backoff_s=1.0)


@dataclass(frozen=True)
class ReleasedFile:
    """A released checkpoint; `model` is the key of its network, `pq` the paper's on COCO val2017 in percent."""

    name: str
    model: str
    pq: float

    @property
    def address(self) -> str:
        return f"{_RELEASE}/{self.name}"


RELEASED: Mapping[str, ReleasedFile] = MappingProxyType(
    {
        key: ReleasedFile(f"panoptic_segformer_{key}.pth", model, printed("v2.T1", system, "PQ"))
        for key, model, system in (
            ("r50_1x", "r50", "v2_r50_12"),
            ("r50_2x", "r50", "v2_r50"),
            ("r101_2x", "r101", "v2_r101"),
            ("pvtv2b5_2x", "pvtv2_b5", "v2_pvtv2_b5"),
            ("swinl_2x", "swin_l", "v2_swin_l"),
        )
    }
)
"""Release v1.0 of the authors' repository: 1x are 12 epochs on COCO, 2x are 24."""


def fetch_released(released: ReleasedFile, target: Path, mirrors: Sequence[str] = ()) -> None:
    """Bring a released checkpoint to `target`; one that is there already is verified against its record only.

    Args:
        released: entry of `RELEASED`.
        target: `.pth` file.
        mirrors: base addresses, to which the file's name is appended; tried before the official one.

    Raises:
        WeightsError: it cannot be fetched, or is not the one that was recorded; says where to get it and put it.
    """
    if target.suffix != ".pth":
        raise WeightsError(f"{target} is where to put {released.name}; give a name that ends in .pth")
    size, sha256 = _recorded(target) or (None, None)
    addresses = (*(f"{mirror.rstrip('/')}/{released.name}" for mirror in mirrors), released.address)
    hint = f"name a mirror with --mirror, or fetch {released.address} elsewhere and put it at {target}"
    if not target.is_file():
        _fetch(Wanted(target, addresses, size, sha256, hint))
    found = _measured(target)
    if size is not None and found != (size, sha256):
        raise WeightsError(
            f"{target}: has {found[0]} bytes and SHA-256 {found[1]}, expected {size} and {sha256}, as recorded in "
            f"{record_path(target)}; remove the file to have it fetched again, or the record if the release has changed"
        )


def _fetch(wanted: Wanted) -> None:
    wanted.target.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=wanted.bytes, desc=wanted.target.name, unit="B", unit_scale=True, disable=None) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        try:
            _, origin = fetch(wanted, PATIENCE, advance, bar.write)
        except DatasetError as error:
            raise WeightsError(str(error)) from None
    print(f"{wanted.target}: {wanted.target.stat().st_size} bytes from {origin}")


def record(released: ReleasedFile, target: Path) -> None:
    """Record size and checksum of a file that has proved to be the checkpoint, unless they are recorded."""
    if _recorded(target) is None:
        size, sha256 = _measured(target)
        write_json(record_path(target), {"address": released.address, "bytes": size, "sha256": sha256})


def record_path(target: Path) -> Path:
    """Path of the record of a fetched file."""
    return target.with_name(f"{target.name}.json")


def _recorded(target: Path) -> tuple[int, str] | None:
    if not record_path(target).is_file():
        return None
    recorded = read_json(record_path(target))
    return recorded.integer("bytes"), recorded.text("sha256")


def _measured(target: Path) -> tuple[int, str]:
    with open_file(target) as file:
        return target.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
