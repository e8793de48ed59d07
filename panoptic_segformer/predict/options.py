"""What the command line asks for, in words of this package."""

from dataclasses import dataclass
from pathlib import Path

OVERLAYS = ("jpg", "png")


@dataclass(frozen=True)
class Outputs:
    """The files to write for an image beside its map, and where."""

    folder: Path
    overlay: str = "jpg"
    """Type of the overlays; empty for none."""
    labelme: bool = False
    coco_instances: bool = False

    def paths(self, name: str) -> tuple[str, ...]:
        """Return the paths, below the folder, of the files that an image of this name gets."""
        overlay = [f"overlays/{name}.{self.overlay}"] if self.overlay else []
        return f"panoptic/{name}.png", *overlay, *([f"labelme/{name}.json"] if self.labelme else [])


@dataclass(frozen=True)
class Tiles:
    """Cuts large images into square tiles that overlap; both in pixels of the image."""

    tile: int
    overlap: int

    def __post_init__(self) -> None:
        """Reject tiles that would never reach the end of an image."""
        if self.tile < 1 or not 0 <= self.overlap < self.tile:
            raise ValueError(f"--tile {self.tile} --overlap {self.overlap}; give 0 <= overlap < tile, in pixels")


@dataclass(frozen=True)
class PredictOptions:
    """How to predict, and what to do with results that are there already."""

    outputs: Outputs
    tiling: Tiles | None = None
    overwrite: bool = False
    quiet: bool = False
