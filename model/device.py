"""Where tensors live: the CUDA device of this process, or the CPU."""

import ctypes
import os
import platform

import torch


def pick_device() -> torch.device:
    """The CUDA device of this process where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Numbers of the parameters of glibc's `mallopt`, from malloc.h."""
LARGEST_MMAP_THRESHOLD = 32 << 20
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in the process from now on; does nothing where the C library is not glibc.

    By itself glibc gives large blocks back to the system, as all activations of a step are, and every page of the
    next step's has to be fetched and cleared again: on virtual machines a tenth of a small network's step. Blocks of
    more than 32 MiB go back in any case.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        library.mallopt(TRIM_THRESHOLD, NEVER)
