"""The options of the command as the rest of this package reads them."""

from dataclasses import dataclass
from pathlib import Path

OVERLAYS = ("jpg", "png")
_LEAST_SIDE = 32


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

    def video(self, name: str) -> str:
        """Return the path of the overlay video of a video, below the folder."""
        return f"videos/{name}.mp4"


@dataclass(frozen=True)
class Tiles:
    """Square tiles that large images are cut into; side and overlap in pixels of the image."""

    side: int
    overlap: int

    def __post_init__(self) -> None:
        """Reject tiles that an image would have too many of."""
        if self.side < _LEAST_SIDE or not 0 <= self.overlap <= self.side / 2:
            raise ValueError(
                f"--tile {self.side} --overlap {self.overlap}; give a tile of at least {_LEAST_SIDE} pixels, and an "
                "overlap of at most half of it"
            )


@dataclass(frozen=True)
class PredictOptions:
    """How to predict, and what to do with results that are there already."""

    outputs: Outputs
    tiles: Tiles | None = None
    overwrite: bool = False
    quiet: bool = False
