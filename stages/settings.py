"""The sections of `params.yaml`."""

from pathlib import Path
from typing import TypeVar

from panoptic.runtime.settings import read_section

SECTIONS = (
    *("dataset", "download", "annotate", "model", "train", "predict", "evaluate"),
    *("corrupt", "complexity", "browse", "explain", "cluster", "loggers"),
)

T = TypeVar("T")


def load_section(params: Path, name: str, schema: type[T], required: bool = True) -> T:
    """Read a section like `panoptic.runtime.settings.read_section`, refusing sections that are not in `SECTIONS`."""
    return read_section(params, name, schema, SECTIONS, required)
