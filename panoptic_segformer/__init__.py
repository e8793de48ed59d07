"""Panoptic segmentation in two lines.

    model = panoptic_segformer.load("runs/train/model.safetensors")
    result = model("photo.jpg")

Importing this package is quick: torch and the network are loaded with the first model.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from panoptic_segformer.neighbors import require_own_neighbors

if TYPE_CHECKING:
    from panoptic_segformer.images import ImageLike
    from panoptic_segformer.loading import load
    from panoptic_segformer.model import Model
    from panoptic_segformer.result import Result, Segment

__all__ = ["ImageLike", "Model", "Result", "Segment", "load"]
_MODULES = {"ImageLike": "images", "Model": "model", "Result": "result", "Segment": "result", "load": "loading"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    require_own_neighbors()  # here, so that `panoptic doctor` can still say what is wrong
    found: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
