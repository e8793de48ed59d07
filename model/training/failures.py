"""What a training says when it fails: the settings to change, and where its state is kept."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.training.distributed.stopping import StoppedError
from panoptic.io.errors import is_lack_of_memory

LOST, BUG = 1, 70
"""Exit statuses of one of several processes: lost the others; an error of the program (EX_SOFTWARE)."""


@contextmanager
def explained_failures(state_file: Path) -> Iterator[None]:
    """Say what to change when memory runs out; note beside any other error of the program where the state is kept.

    Raises:
        MemoryError: Memory ran out, on the GPU or in this process.
    """
    try:
        yield
    except Exception as error:
        if is_lack_of_memory(error):
            raise MemoryError(_smaller(error, state_file)) from error
        error.add_note(_kept(state_file))
        raise


@contextmanager
def statuses_for_agent() -> Iterator[None]:
    """End one of several processes with a status that tells the agent whether restarting all of them can help."""
    try:
        yield
    except (ValueError, OSError, MemoryError, StoppedError):
        raise
    except Exception as error:
        if "WORLD_SIZE" not in os.environ:
            raise
        if _has_lost_others(error):
            print(f"error: lost the other processes, whose output says why: {error}", file=sys.stderr)
            sys.exit(LOST)
        traceback.print_exc()
        sys.exit(BUG)


def _has_lost_others(error: Exception) -> bool:
    """Tell whether an error comes from an exchange with the other processes, of which one has ended or hangs."""
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, RuntimeError) and any(module.startswith("torch.distributed") for module in modules)


def _smaller(error: Exception, state_file: Path) -> str:
    said = str(error).strip().splitlines()
    return (
        f"{said[0] if said else type(error).__name__}: a step needs less with a smaller train.images_per_forward, with "
        "train.activation_checkpointing: true, or with smaller sizes in train.augmentation; loading needs less with "
        f"fewer train.workers. {_kept(state_file)}"
    )


def _kept(state_file: Path) -> str:
    if not state_file.exists():
        return "No state was saved yet."
    return f"The last saved state is kept: {state_file}; the same command resumes from it."
