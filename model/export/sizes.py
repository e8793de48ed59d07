"""The picture sizes that an exported network accepts."""

import re
from dataclasses import dataclass

import torch
from torch.export import Dim

LARGEST, LARGEST_BATCH = 4096, 64


class ExportError(ValueError):
    """What cannot be exported, or an exported network that differs from the one it was made of."""


@dataclass(frozen=True)
class Sizes:
    """Fixed (height, width) of one picture, or, where `fixed` is None, any size and batch within the limits."""

    fixed: tuple[int, int] | None = None
    smallest: int = 1  # side in pixels

    @classmethod
    def dynamic(cls, levels: int) -> "Sizes":
        """For a network with so many levels, the coarsest of which has more than one pixel a side.

        A side of one is no symbol to torch: it would not be stretched as others are.
        """
        return cls(smallest=4 * 2**levels + 1)

    @classmethod
    def parse(cls, text: str) -> "Sizes":
        """From HEIGHTxWIDTH."""
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if match is None:
            raise ExportError(f"--size is {text!r}; give HEIGHTxWIDTH in pixels, for example 480x640")
        return cls((int(match[1]), int(match[2])))

    def example(self) -> torch.Tensor:
        """Pictures to trace with, of which only the size counts.

        Where it may vary, no two sizes on any level are equal, so that none is taken for another, and there are more
        pixels on all levels than queries that could start from them.
        """
        return torch.zeros(1, 3, *self.fixed) if self.fixed else torch.zeros(2, 3, 264, 328)

    def dynamic_shapes(self) -> tuple[dict[int, Dim]] | None:
        """As `torch.export.export` takes them."""
        if self.fixed:
            return None
        sides = (Dim(name, min=self.smallest, max=LARGEST) for name in ("height", "width"))
        return (dict(zip((0, 2, 3), (Dim("batch", min=1, max=LARGEST_BATCH), *sides), strict=True)),)

    def require(self, height: int, width: int, where: str) -> None:
        """Raise `ExportError` if a picture is too small or too large; `where` names it."""
        if not self.smallest <= min(height, width) <= max(height, width) <= LARGEST:
            raise ExportError(
                f"{where} is {height} x {width}; the network takes sides of {self.smallest} to {LARGEST} pixels"
            )

    def to_json(self) -> dict[str, object]:
        """For the description beside the exported files."""
        if self.fixed:
            return {"batch": 1, "height": self.fixed[0], "width": self.fixed[1]}
        sides = {"smallest": self.smallest, "largest": LARGEST}
        return {"batch": {"smallest": 1, "largest": LARGEST_BATCH}, "height": sides, "width": sides}
