"""The sections of `params.yaml`."""

from pathlib import Path
from typing import TypeVar

from panoptic.runtime.settings import read_section

SECTIONS = (
    *("dataset", "download", "annotate", "model", "train", "predict", "evaluate"),
    *("corrupt", "complexity", "browse", "cluster"),
)

T = TypeVar("T")


def load_section(params: Path, name: str, schema: type[T], required: bool = True) -> T:
    """`panoptic.runtime.settings.read_section` of a file that may have no other sections."""
    return read_section(params, name, schema, SECTIONS, required)
