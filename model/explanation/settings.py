"""Settings of the explain stage."""

from dataclasses import dataclass, field
from typing import Annotated

from panoptic.runtime.ranges import Count, PositiveCount, Within, require_ranges


@dataclass(frozen=True)
class ExplainSettings:
    """The `explain` section of params.yaml.

    `images`: how many of the split are measured, from the first on; 0 for all. `drawn`: how many of these are drawn.
    `image_ids`: ids of images to draw in place of the first ones. `segments`: how many predicted things of a drawn
    image are shown, from the largest on, and how many of stuff. `bootstrap`: resamplings for the 95 % confidence
    intervals, 0 for none.
    """

    images: Count = 0
    drawn: Count = 3
    image_ids: list[str] = field(default_factory=list)
    segments: PositiveCount = 2
    bootstrap: Annotated[int, Within(0, 1_000_000)] = 1000

    def __post_init__(self) -> None:
        """Reject numbers out of range."""
        require_ranges(self, "explain")
