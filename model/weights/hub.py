"""ImageNet weights from a folder or the Hugging Face hub. `HF_HUB_OFFLINE=1` keeps the hub's client off the network."""

from pathlib import Path

from model.network.backbones import BACKBONES
from model.weights.files import WeightsError

REVISION = "main"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth", ".bin")
RANDOM = "to start from random weights, ask for them by name (train.initial_weights: random)"


def find_imagenet(name: str, folder: Path) -> Path:
    """Find a backbone's ImageNet weights in a folder or in the hub's cache, or fetch them from the hub.

    Args:
        name: backbone, as in `NetworkConfig.backbone`.
        folder: may contain `<name>.safetensors`, `.pth` or `.bin`; need not exist.

    Raises:
        WeightsError: there are none; says what to fetch, and where to put it.
    """
    local = next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)
    if local is not None:
        return local
    repository = BACKBONES[name].hub
    if not repository:
        raise WeightsError(
            f"nobody has published ImageNet weights of the backbone {name!r}, and there is no "
            f"{folder / name}.safetensors; {RANDOM}"
        )
    return _fetched(name, repository, folder)


def _fetched(name: str, repository: str, folder: Path) -> Path:
    # Imported here, because few trainings need it and it loads slowly.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    reasons: list[Exception] = []
    for file in HUB_FILES:
        # If the hub could not be reached for the first file, only try its cache for the second.
        unreachable = any(isinstance(reason, LocalEntryNotFoundError) for reason in reasons)
        try:
            return Path(hf_hub_download(repository, file, revision=REVISION, local_files_only=unreachable))
        except (OSError, EntryNotFoundError) as error:
            reasons.append(error)
    reason = str(reasons[0]).partition("\n")[0]
    raise WeightsError(
        f"no ImageNet weights of the backbone {name}: there is no {folder / name}.safetensors, and nothing could be "
        f"fetched from https://huggingface.co/{repository} ({reason}). Where there is a network, fetch {HUB_FILES[0]} "
        f"from https://huggingface.co/{repository}/tree/{REVISION} and put it at {folder / name}.safetensors (or "
        f"{HUB_FILES[1]} at {folder / name}.bin); {RANDOM}"
    ) from reasons[0]
