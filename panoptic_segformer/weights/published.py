"""The authors' checkpoints by name, in a folder of the project or the user's cache."""

import os
from collections.abc import Sequence
from pathlib import Path

from model.weights.official import __main__ as official
from model.weights.official.models import identify
from model.weights.official.pth import read_pth
from model.weights.official.released import RELEASED, fetch_released

PRETRAINED = Path("pretrained")
"""Folder of the project, relative to where a command runs."""


def cache_folder() -> Path:
    """Return the folder below the user's cache in which fetched checkpoints are kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "panoptic-segformer"


def local_file(name: str) -> Path | None:
    """Find a published checkpoint on this machine, converted or as it was released; None if there is none.

    Args:
        name: key of `RELEASED`.
    """
    files = (f"{name}.safetensors", RELEASED[name].name)
    places = (folder / file for folder in (PRETRAINED, cache_folder()) for file in files)
    return next((path for path in places if path.is_file()), None)


def fetched_file(name: str) -> Path:
    """Find a published checkpoint like `local_file`, or fetch it into the cache, with progress.

    Raises:
        WeightsError: it cannot be fetched; says where to get it and put it.
    """
    path = local_file(name) or cache_folder() / RELEASED[name].name
    if path.suffix == ".pth":
        fetch_released(RELEASED[name], path)  # verifies one that is there
    return path


def fetch(name: str, out: Path | None, mirrors: Sequence[str]) -> None:
    """Fetch a published checkpoint and convert it, by the command `model.weights.official`.

    Args:
        name: key of `RELEASED`.
        out: safetensors file to write; None: in the cache, where `load` finds it by the name.
        mirrors: addresses of folders to try before the official one.

    Raises:
        ValueError: there is no such name.
    """
    if name not in RELEASED:
        raise ValueError(f"{name}: no published checkpoint; choose from {', '.join(RELEASED)}")
    target = out or cache_folder() / f"{name}.safetensors"
    options = [text for mirror in mirrors for text in ("--mirror", mirror)]
    official.main(["--fetch", name, str(target.with_name(RELEASED[name].name)), "--out", str(target), *options])


def convert_file(file: Path, out: Path | None, categories: Path | None, average: bool) -> None:
    """Convert a checkpoint of whichever published model, by the command `model.weights.official`.

    Args:
        file: `.pth` file.
        out: safetensors file to write; None: beside it.
        categories: JSON in COCO's format with its classes; None: COCO's.
        average: take the moving average of the weights that the file holds beside them.
    """
    model = identify(read_pth(file).state)
    options = ["--categories", str(categories)] if categories else []
    options += ["--ema"] if average else []
    official.main([str(file), "--model", model, "--out", str(out or file.with_suffix(".safetensors")), *options])
