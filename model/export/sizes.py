"""The image sizes that an exported network accepts."""

import re
from dataclasses import dataclass

import torch
from torch.export import Dim

from model.network.backbones import BACKBONES
from model.network.config import NetworkConfig

LARGEST, LARGEST_BATCH = 4096, 64


class ExportError(ValueError):
    """What cannot be exported, or an exported network that differs from the one it was made of."""


@dataclass(frozen=True)
class Sizes:
    """Fixed (height, width) of one image, or, where `fixed` is None, any size and batch within the limits."""

    fixed: tuple[int, int] | None = None
    smallest: int = 1  # side in pixels
    multiple: int = 1  # that every side is of

    @classmethod
    def dynamic(cls, config: NetworkConfig) -> "Sizes":
        """All that such a network can be traced for at once: its coarsest level has more than one pixel a side.

        A side of one is no symbol to torch: it would not be stretched as others are.

        Raises:
            ExportError: it can be traced for one size only.
        """
        multiple = BACKBONES[config.backbone].export_multiple
        if multiple is None:
            raise ExportError(
                f"{config.backbone} cuts its maps into windows, which torch traces for one size only; give --size "
                "HEIGHTxWIDTH instead of --dynamic"
            )
        return cls(smallest=-(-(4 * 2**config.levels + 1) // multiple) * multiple, multiple=multiple)

    @classmethod
    def parse(cls, text: str) -> "Sizes":
        """From HEIGHTxWIDTH."""
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if match is None:
            raise ExportError(f"--size is {text!r}; give HEIGHTxWIDTH in pixels, for example 480x640")
        return cls((int(match[1]), int(match[2])))

    def example(self) -> torch.Tensor:
        """Images to trace with, of which only the size counts.

        Where it may vary, no two sizes on any level are equal, so that none is taken for another, and there are more
        pixels on all levels than queries that could start from them.
        """
        if self.fixed:
            return torch.zeros(1, 3, *self.fixed)
        return torch.zeros(2, 3, 264, 328) if self.multiple == 1 else torch.zeros(2, 3, 288, 416)

    def dynamic_shapes(self) -> tuple[dict[int, Dim]] | None:
        """As `torch.export.export` takes them."""
        if self.fixed:
            return None
        parts = (
            Dim(name, min=self.smallest // self.multiple, max=LARGEST // self.multiple) for name in ("height", "width")
        )
        sides = parts if self.multiple == 1 else (self.multiple * part for part in parts)
        return (dict(zip((0, 2, 3), (Dim("batch", min=1, max=LARGEST_BATCH), *sides), strict=True)),)

    def nearest(self, height: int, width: int) -> tuple[int, int]:
        """The size that an image of that size should get: the same where it is a multiple already."""
        return self._rounded(height), self._rounded(width)

    def _rounded(self, side: int) -> int:
        return max(1, round(side / self.multiple)) * self.multiple

    def require(self, height: int, width: int, where: str) -> None:
        """Raise `ExportError` if an image is too small or too large; `where` names it."""
        sides = height, width
        if not self.smallest <= min(sides) <= max(sides) <= LARGEST or any(side % self.multiple for side in sides):
            multiples = f", multiples of {self.multiple}" if self.multiple > 1 else ""
            taken = f"{self.smallest} to {LARGEST} pixels{multiples}"
            raise ExportError(f"{where} is {height} x {width}; the network takes sides of {taken}")

    def to_json(self) -> dict[str, object]:
        """For the description beside the exported files."""
        if self.fixed:
            return {"batch": 1, "height": self.fixed[0], "width": self.fixed[1]}
        sides = {"smallest": self.smallest, "largest": LARGEST, "multiple_of": self.multiple}
        return {"batch": {"smallest": 1, "largest": LARGEST_BATCH}, "height": sides, "width": sides}
