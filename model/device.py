"""The device of this process, the precision on it, and how memory is managed."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


def pick_device() -> torch.device:
    """Return the CUDA device of this process if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def usable_device(name: str | torch.device) -> torch.device:
    """Return the device of a name. Raises `ValueError` if there is no such device here that computes."""
    try:
        device = torch.device(name)
        if device.type == "cpu" and device.index:  # which torch takes for the CPU
            raise RuntimeError("a CPU has no number")
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:  # those of a torch without this type
        here = "cpu" + "".join(f", cuda:{index}" for index in range(torch.cuda.device_count()))
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {str(name)!r} cannot be used ({reason:.120}); choose from {here}") from error
    return device


def compute_name(device: torch.device) -> str:
    """Name the GPU, or the number of threads that compute on the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Make plain tensors of float32 on the CPU where nothing else is said, whatever the caller's program has set."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        if (dtype := torch.get_default_dtype()) != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


PRECISIONS = ("float32", "bfloat16", "auto")


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Tell whether one of `PRECISIONS` means bfloat16 on a device; auto does on GPUs that support it."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Parameters of glibc's `mallopt`, from malloc.h."""
LARGEST_MMAP_THRESHOLD = 32 << 20
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in the process from now on; do nothing where the C library is not glibc.

    By default glibc returns large blocks, such as all activations of a step, to the system, which has to map and clear
    every page again for the next step: on virtual machines that takes a tenth of a small network's step. Blocks of more
    than 32 MiB are returned in any case.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        library.mallopt(TRIM_THRESHOLD, NEVER)
