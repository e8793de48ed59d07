"""Panoptic segmentation in two lines.

    model = panoptic_segformer.load("runs/train/model.safetensors")
    result = model("photo.jpg")

Importing this package is quick: torch and the network are loaded with the first model.
"""

from typing import TYPE_CHECKING

from panoptic_segformer.neighbors import require_own_neighbors

if TYPE_CHECKING:
    from panoptic_segformer.images import ImageLike
    from panoptic_segformer.loading import load
    from panoptic_segformer.model import Model
    from panoptic_segformer.result import Result, Segment

__all__ = ["ImageLike", "Model", "Result", "Segment", "load"]


def __getattr__(name: str) -> object:
    if name in __all__:
        require_own_neighbors()  # here, so that `panoptic doctor` can still say what is wrong
    if name == "load":
        from panoptic_segformer.loading import load

        return load
    if name in ("Result", "Segment"):
        from panoptic_segformer import result

        return getattr(result, name)
    if name in ("ImageLike", "Model"):
        from panoptic_segformer import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
