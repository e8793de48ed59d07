"""Where tensors live: the CUDA device of this process, or the CPU."""

import os

import torch


def pick_device() -> torch.device:
    """The CUDA device of this process where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")
