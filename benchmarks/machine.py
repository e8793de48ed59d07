"""What the pages say that they were measured on."""

import os
import platform

import torch

from model.device import pick_device


def device_name() -> str:
    """The GPU that the networks run on, else the processor and its cores."""
    if pick_device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores"
