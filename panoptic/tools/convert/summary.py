"""Summary of a conversion: segments per class, void, and how much overlaps hide."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from panoptic.format.categories import Category, CategoryTable
from panoptic.io.errors import shown_ids
from panoptic.tools.convert.drawing import AnnotatedImage, DrawnImage

_EXAMPLES = 3


@dataclass
class SplitSummary:
    """Totals of a split: segments by category id, crowds; areas in pixels. `files` are the names of image files."""

    images: int = 0
    files: set[str] = field(default_factory=set)
    regions: int = 0
    empty: int = 0
    segments: Counter[int] = field(default_factory=Counter)
    crowds: int = 0
    pixels: int = 0
    void: int = 0
    instance_pixels: int = 0
    hidden: int = 0
    most_hidden: tuple[float, str] = (0.0, "")
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, image: AnnotatedImage, drawn: DrawnImage) -> None:
        """Count one image."""
        self.images += 1
        if image.file.content is None:
            self.files.add(image.file.name)
        self.regions += len(image.regions)
        self.empty += not drawn.segments
        self.segments.update(segment.category_id for segment in drawn.segments)
        self.crowds += sum(segment.is_crowd for segment in drawn.segments)
        self.pixels += drawn.ids.size
        self.void += drawn.ids.size - sum(segment.area for segment in drawn.segments)
        self.instance_pixels += drawn.instance_pixels
        self.hidden += drawn.hidden
        if drawn.hidden:
            self.most_hidden = max(self.most_hidden, (drawn.hidden / drawn.instance_pixels, image.file.name))
        for note in (*image.notes, *drawn.notes):
            self.notes[note.what].append(note.where)

    def describe(self, split: str, categories: CategoryTable) -> str:
        """Describe the split for a person."""
        names = categories.unique_names()

        def listed(chosen: tuple[Category, ...]) -> str:
            return ", ".join(f"{names[category.id]} {self.segments[category.id]}" for category in chosen) or "none"

        crowds = f"; {self.crowds} of them crowds" if self.crowds else ""
        lines = [
            f"{split}: {self.images} images, {self.void / max(self.pixels, 1):.1%} of their pixels void",
            f"  thing segments: {listed(categories.things)}{crowds}",
            f"  images with stuff: {listed(categories.stuff)}",
        ]
        if self.empty:
            lines.append(f"  note: images without a segment, so wholly void: {self.empty}")
        if self.hidden:
            fraction, name = self.most_hidden
            lines.append(
                f"  note: {_percent(self.hidden / self.instance_pixels)} of the instances' pixels are covered by other"
                f" instances or void and count for those; most in {name}, {_percent(fraction)}"
            )
        for what, found in self.notes.items():
            lines.append(f"  note: {what}: {len(found)} ({shown_ids(found, _EXAMPLES)})")
        return "\n".join(lines)


def _percent(fraction: float) -> str:
    """Format a fraction above 0, which should not look like none."""
    return "below 0.1%" if fraction < 0.0005 else f"{fraction:.1%}"


def unused_classes(summaries: Mapping[str, SplitSummary], categories: CategoryTable) -> list[str]:
    """Name the classes that occur in no split."""
    used = {key for summary in summaries.values() for key in summary.segments}
    return [f"'{name}'" for category_id, name in categories.unique_names().items() if category_id not in used]
