"""Where the ImageNet weights of each backbone are. `HF_HUB_OFFLINE=1` keeps the hub's client off the network."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from model.weights.files import PretrainedError

REPOSITORIES: Mapping[str, str] = MappingProxyType(
    {
        "resnet50": "microsoft/resnet-50",
        "resnet101": "microsoft/resnet-101",
        "pvt_v2_b0": "OpenGVLab/pvt_v2_b0",
        "pvt_v2_b2": "OpenGVLab/pvt_v2_b2",
        "pvt_v2_b2_linear": "OpenGVLab/pvt_v2_b2_linear",
        "pvt_v2_b5": "OpenGVLab/pvt_v2_b5",
        "swin_tiny": "microsoft/swin-tiny-patch4-window7-224",
        "swin_small": "microsoft/swin-small-patch4-window7-224",
        "swin_base": "microsoft/swin-base-patch4-window7-224-in22k",
        "swin_large": "microsoft/swin-large-patch4-window7-224-in22k",
    }
)
REVISION = "main"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth", ".bin")
RANDOM = "to start from random weights, ask for them by name (train.initial_weights: random)"


def find_imagenet(name: str, folder: Path) -> Path:
    """The file with a backbone's ImageNet weights: in a folder, in the hub's cache, or fetched from the hub.

    Args:
        name: of the backbone, as in `NetworkConfig.backbone`.
        folder: may hold `<name>.safetensors`, `.pth` or `.bin`; does not need to exist.

    Raises:
        PretrainedError: none of them has it; says what to fetch, and where to put it.
    """
    local = next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)
    if local is not None:
        return local
    if name not in REPOSITORIES:
        raise PretrainedError(
            f"nobody has published ImageNet weights of the backbone {name!r}, and there is no "
            f"{folder / name}.safetensors; {RANDOM}"
        )
    return _fetched(name, folder)


def _fetched(name: str, folder: Path) -> Path:
    repository = REPOSITORIES[name]
    reasons: list[Exception] = []
    for file in HUB_FILES:
        # Once the hub could not be reached, only its cache is worth a look.
        unreachable = any(isinstance(reason, LocalEntryNotFoundError) for reason in reasons)
        try:
            return Path(hf_hub_download(repository, file, revision=REVISION, local_files_only=unreachable))
        except (OSError, EntryNotFoundError) as error:
            reasons.append(error)
    reason = str(reasons[0]).partition("\n")[0]
    raise PretrainedError(
        f"no ImageNet weights of the backbone {name}: there is no {folder / name}.safetensors, and nothing could be "
        f"fetched from https://huggingface.co/{repository} ({reason}). Where there is a network, fetch {HUB_FILES[0]} "
        f"from https://huggingface.co/{repository}/tree/{REVISION} and put it at {folder / name}.safetensors (or "
        f"{HUB_FILES[1]} at {folder / name}.bin); {RANDOM}"
    ) from reasons[0]
