"""The image sizes that an exported network accepts."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.export import Dim

from model.inference.predictor import NetworkInput
from model.network.backbones import BACKBONES
from model.network.config import NetworkConfig
from panoptic.data.transforms import resize_for_inference, resize_image
from panoptic.io.json_fields import JsonObject

LARGEST, LARGEST_BATCH = 4096, 64


class ExportError(ValueError):
    """A network cannot be exported, or the exported one differs from it."""


@dataclass(frozen=True)
class Sizes:
    """Fixed (height, width) of one image, or, if `fixed` is None, any size and batch within the limits."""

    fixed: tuple[int, int] | None = None
    smallest: int = 1  # side in pixels
    multiple: int = 1  # of which every side is one

    @classmethod
    def dynamic(cls, config: NetworkConfig, side_multiple: int = 0) -> "Sizes":
        """Return the sizes that a network can be traced for at once: its coarsest level has sides above 1.

        torch specializes on sides of 1 instead of treating them as symbols. `side_multiple` is the family's; with 0,
        that of the backbone is taken.

        Raises:
            ExportError: the network can only be traced for a single size.
        """
        multiple = side_multiple or BACKBONES[config.backbone].export_multiple
        if multiple is None:
            raise ExportError(
                f"{config.backbone} splits its maps into windows, which torch can only trace for one size; give --size "
                "HEIGHTxWIDTH instead of --dynamic"
            )
        return cls(smallest=-(-(4 * 2**config.levels + 1) // multiple) * multiple, multiple=multiple)

    @classmethod
    def from_json(cls, limits: JsonObject) -> "Sizes":
        """Read what `to_json` wrote.

        Raises:
            FieldError: it is something else.
        """
        if isinstance(limits.values.get("height"), int):
            numbers = limits.integer("height"), limits.integer("width")
            sizes = cls(numbers)
        else:
            child = limits.child("height")
            numbers = child.integer("smallest"), child.integer("multiple_of")
            sizes = cls(None, *numbers)
        if not 0 < min(numbers) <= max(numbers) <= LARGEST:
            raise ExportError(f"{limits.where}: has {numbers}, expected pixels from 1 to {LARGEST}; export it again")
        return sizes

    @classmethod
    def parse(cls, text: str) -> "Sizes":
        """Parse HEIGHTxWIDTH.

        Raises:
            ExportError: the text has another form, or a side is too large.
        """
        match = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", text)
        if match is None:
            raise ExportError(f"--size is {text!r:.60}; give HEIGHTxWIDTH in pixels, for example 480x640")
        size = int(match[1]), int(match[2])
        cls().require(*size, "--size")
        return cls(size)

    def example(self) -> torch.Tensor:
        """Make images to trace with, of which only the size matters.

        For dynamic sizes, no two sizes on any level are equal, so that torch does not confuse them, and the levels have
        more pixels than there are queries that could start from them.
        """
        if self.fixed:
            return torch.zeros(1, 3, *self.fixed)
        return torch.zeros(2, 3, 264, 328) if self.multiple == 1 else torch.zeros(2, 3, 288, 416)

    def dynamic_shapes(self) -> tuple[dict[int, Dim]] | None:
        """Return the sizes as `torch.export.export` takes them."""
        if self.fixed:
            return None
        parts = (
            Dim(name, min=self.smallest // self.multiple, max=LARGEST // self.multiple) for name in ("height", "width")
        )
        sides = parts if self.multiple == 1 else (self.multiple * part for part in parts)
        return (dict(zip((0, 2, 3), (Dim("batch", min=1, max=LARGEST_BATCH), *sides), strict=True)),)

    def nearest(self, height: int, width: int) -> tuple[int, int]:
        """Return the nearest size with sides that are multiples of `multiple`."""
        return self._rounded(height), self._rounded(width)

    def _rounded(self, side: int) -> int:
        return max(1, round(side / self.multiple)) * self.multiple

    def require(self, height: int, width: int, where: str) -> None:
        """Check the size of an image, which messages call `where`.

        Raises:
            ExportError: it is too small, too large or no multiple.
        """
        sides = height, width
        if not self.smallest <= min(sides) <= max(sides) <= LARGEST or any(side % self.multiple for side in sides):
            multiples = f", multiples of {self.multiple}" if self.multiple > 1 else ""
            accepted = f"{self.smallest} to {LARGEST} pixels{multiples}"
            raise ExportError(f"{where} is {height} x {width}; the network accepts sides of {accepted}")

    def fit(self, image: npt.NDArray[np.uint8], name: str, shorter: int, longer: int) -> NetworkInput:
        """Resize an image (H, W, 3) to an accepted size, the nearest to that by the two settings if there are several.

        Raises:
            ExportError: it is too small or too large.
        """
        original = image.shape[0], image.shape[1]
        if self.fixed:
            return NetworkInput(resize_image(image, *self.fixed), original, name)
        resized = resize_for_inference(image, shorter, longer)
        size = self.nearest(*resized.shape[:2])
        self.require(*size, name)
        return NetworkInput(resized if size == resized.shape[:2] else resize_image(image, *size), original, name)

    def to_json(self) -> dict[str, object]:
        """Return the limits for the description beside the exported files."""
        if self.fixed:
            return {"batch": 1, "height": self.fixed[0], "width": self.fixed[1]}
        sides = {"smallest": self.smallest, "largest": LARGEST, "multiple_of": self.multiple}
        return {"batch": {"smallest": 1, "largest": LARGEST_BATCH}, "height": sides, "width": sides}
