"""Summary of a conversion: segments per class, void, and how much overlaps hide."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from panoptic.format.categories import Category, CategoryTable
from panoptic.tools.convert.drawing import DrawnImage


@dataclass
class SplitSummary:
    """Totals of a split: segments by category id, crowds; areas in pixels."""

    images: int = 0
    empty: int = 0
    segments: Counter[int] = field(default_factory=Counter)
    crowds: int = 0
    pixels: int = 0
    void: int = 0
    instance_pixels: int = 0
    hidden: int = 0
    most_hidden: tuple[float, str] = (0.0, "")

    def add(self, file_name: str, drawn: DrawnImage) -> None:
        """Count one image."""
        self.images += 1
        self.empty += not drawn.segments
        self.segments.update(segment.category_id for segment in drawn.segments)
        self.crowds += sum(segment.is_crowd for segment in drawn.segments)
        self.pixels += drawn.ids.size
        self.void += drawn.ids.size - sum(segment.area for segment in drawn.segments)
        self.instance_pixels += drawn.instance_pixels
        self.hidden += drawn.hidden
        if drawn.hidden:
            self.most_hidden = max(self.most_hidden, (drawn.hidden / drawn.instance_pixels, file_name))

    def describe(self, split: str, categories: CategoryTable) -> str:
        """Describe the split for a person."""

        def listed(chosen: tuple[Category, ...]) -> str:
            return ", ".join(f"{category.name} {self.segments[category.id]}" for category in chosen) or "none"

        crowds = f"; {self.crowds} of them crowds" if self.crowds else ""
        lines = [
            f"{split}: {self.images} images, {self.void / max(self.pixels, 1):.1%} of their pixels void",
            f"  thing segments: {listed(categories.things)}{crowds}",
            f"  images with stuff: {listed(categories.stuff)}",
        ]
        if self.empty:
            lines.append(f"  note: {self.empty} images have no segment, all their pixels are void")
        if self.hidden:
            fraction, name = self.most_hidden
            lines.append(
                f"  note: {self.hidden / self.instance_pixels:.1%} of the instances' pixels are covered by other"
                f" instances and count for those; most in {name}, {fraction:.1%}"
            )
        return "\n".join(lines)


def unused_classes(summaries: Mapping[str, SplitSummary], categories: CategoryTable) -> list[str]:
    """Name the classes that occur in no split."""
    used = {key for summary in summaries.values() for key in summary.segments}
    return [category.name for category in categories if category.id not in used]
