"""What both papers publish: every model (`models`), and every printed figure (`papers`).

Reading the figures is quick: torch and the networks are loaded with the first of the models' names.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.published.models import COCO_STUFF, COCO_THINGS, PUBLISHED, UNUSED_PARAMETERS, PublishedModel

__all__ = ["COCO_STUFF", "COCO_THINGS", "PUBLISHED", "UNUSED_PARAMETERS", "PublishedModel"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    import model.published.models as models  # `from model.published import models` would ask this function

    return getattr(models, name)
