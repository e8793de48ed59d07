"""Import modules one by one for `panoptic doctor`, and say how each went; a crash ends no more than this process.

Reads a list of names from standard input, and prints one line of JSON for each.
"""

import json
import sys
from importlib import import_module
from types import ModuleType


def main() -> None:
    """Run the worker."""
    for name in json.load(sys.stdin):
        try:
            said = _describe(name, import_module(name))
        except Exception as error:  # a damaged package raises anything; the caller reports it
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"name": name, **said}), flush=True)


def _describe(name: str, module: ModuleType) -> dict[str, object]:
    if name == "torch":
        return {"version": module.__version__, "cuda": module.version.cuda, "gpus": _gpus()}
    if name == "model.ops.backends":
        return {"backends": _backends()}
    return {"version": getattr(module, "__version__", "")}


def _gpus() -> list[str]:
    import torch

    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [f"{one.name}, {one.total_memory / 1e9:.0f} GB" for one in properties]


def _backends() -> dict[str, str]:
    import torch

    from model.ops.backends import choose

    return {device: choose(device) for device in ("cpu", "cuda") if device == "cpu" or torch.cuda.is_available()}


if __name__ == "__main__":
    main()
