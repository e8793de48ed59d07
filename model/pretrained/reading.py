"""Files of weights: safetensors, or pickles of which only tensors and plain values are read."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from model.pickled import is_safetensors, read_pickle
from model.pretrained.errors import PretrainedError

_PARALLEL = "module."
WRAPPERS = ("state_dict", "model")
"""Keys under which the authors' files hold the weights; the rest is about their training."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, whatever its suffix.

    Raises:
        PretrainedError, PickledWeightsError: no such file, or one that is damaged, asks for code to be run, or holds
            no weights.
    """
    document = _read_safetensors(path) if is_safetensors(path) else read_pickle(path)
    for wrapper in WRAPPERS:
        if isinstance(document, dict) and isinstance(document.get(wrapper), dict):
            document = document[wrapper]
    if not isinstance(document, dict) or not document:
        raise PretrainedError(f"{path}: holds {str(document)[:60]}; expected names and tensors")
    wrong = [str(name) for name, value in document.items() if not isinstance(value, Tensor)]
    if wrong:
        raise PretrainedError(f"{path}: expected names and tensors only; not so: {', '.join(wrong[:5])}")
    prefix = _PARALLEL if all(name.startswith(_PARALLEL) for name in document) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in document.items()}


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise PretrainedError(f"{path}: cannot be read as safetensors ({error}); fetch it again") from error
