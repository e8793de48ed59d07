"""Moving averages of weights (EMA), which many files hold beside the weights themselves.

The hooks of OpenMMLab keep the average under other names, but exchange it with the weights, so that a network loaded
from the file has the average: mmengine's in every file, mmcv's after every epoch, which is before the file is written
only if the hook has a higher priority.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

WRAPPERS = ("state_dict", "model", "network", "model_state_dict", "module", "net", "params", "weights")
"""Keys under which files store the weights: those of mmdet, of other authors, of our unfinished runs, of PyTorch's
tutorials, and of DeepSpeed. The rest concerns their training."""
AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "average", "params_ema")
"""Keys of moving averages of the weights: those of timm, of other authors, of mmengine, and of our unfinished runs."""
AVERAGE_MARK = "#ema"
"""Suffix of a file's name in settings by which its moving average is taken."""
AVERAGE_HINT = f"--ema, or {AVERAGE_MARK} after the name in train.initial_weights"
_COPY = "ema_"
COPIES = f"entries '{_COPY}*'"
USUAL_NAMES = "entries of the usual names"
_STEPS = "steps"
_COUNTS = ("n_averaged", _STEPS)
"""Numbers that PyTorch's and mmengine's averaged networks keep among their weights."""
_WRITING_FILES = 50
_HIGHER_PRIORITIES = ("HIGHEST", "VERY_HIGH", "HIGH", "ABOVE_NORMAL")


def section(sections: Mapping[object, object], names: Iterable[str]) -> str | None:
    """Return the first of the names under which there is a dict."""
    return next((name for name in names if isinstance(sections.get(name), dict)), None)


def innermost(content: object) -> object:
    """Return the state dict in a section that wraps it once more, as some averages do; else the section.

    Counts of steps among the weights are left out.
    """
    if not isinstance(content, dict):
        return content
    inner = section(content, (*WRAPPERS, "shadow"))
    return content[inner] if inner else {name: tensor for name, tensor in content.items() if name not in _COUNTS}


def without_copies(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Separate the copies that mmcv's hook keeps among the weights, as `ema_` and their name with `_` for every dot."""
    names = {_COPY + name.replace(".", "_"): name for name in state}
    copies = {names[key]: tensor for key, tensor in state.items() if key in names}
    return {key: tensor for key, tensor in state.items() if key not in names}, copies


def exchanged_by_mmengine(averaged: object) -> bool:
    """Tell by its count of steps whether mmengine's hook wrote a section of averages."""
    return isinstance(averaged, dict) and _STEPS in averaged


def exchanged_by_mmcv(meta: object) -> bool:
    """Tell by the configuration in a file, if it is there, whether mmcv's hook had exchanged the copies."""
    config = meta.get("config") if isinstance(meta, dict) else None
    if not isinstance(config, str) or "EMAHook" not in config:
        return True
    found = re.search(r"EMAHook['\"][^()]*?priority\W+(\w+)", config)
    priority = found[1] if found else "NORMAL"
    is_higher = int(priority) < _WRITING_FILES if priority.isdigit() else priority in _HIGHER_PRIORITIES
    return is_higher and "IterBasedRunner" not in config


def describe_choice(average: bool, exchanged: bool, plain: str, other: str) -> str:
    """Say which of two sets of weights is taken, and how to take the other.

    Args:
        average: the moving average is asked for.
        exchanged: it is where else the weights are.
        plain: where the weights usually are.
        other: where the average usually is.
    """
    if exchanged:
        return f"the moving average (EMA) in {plain}, where the hook that made it puts it, not the weights in {other}"
    if average:
        return f"the moving average (EMA) in {other}, not the weights in {plain}"
    return f"the weights in {plain}, not their moving average (EMA) in {other}; to take that: {AVERAGE_HINT}"
