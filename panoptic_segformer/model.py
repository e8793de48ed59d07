"""A network with all that its use needs, from images to results."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from typing import NoReturn, Protocol, TypeVar, overload, runtime_checkable

from model.assembly.tiles import Tiling, join_tiles
from model.device import usual_defaults
from model.inference.post_processing import FoundMasks, PanopticPrediction
from model.inference.predictor import NetworkInput, Runtime
from model.inference.settings import InferenceSettings
from panoptic.format.categories import CategoryTable
from panoptic.runtime.parallel import ahead
from panoptic_segformer.images import ImageLike, NamedImage, named_image
from panoptic_segformer.result import Result
from panoptic_segformer.unmerged import MergedMap, Unmerged

Form = TypeVar("Form", bound=ImageLike)


@runtime_checkable
class MaskFinder(Protocol):
    """A runtime that can leave merging to its caller."""

    def find(self, inputs: Sequence[NetworkInput]) -> Iterator[FoundMasks]:
        """Find the masks of images that have one size for the network."""


class Model:
    """Predicts panoptic maps; `panoptic_segformer.load` makes one."""

    def __init__(
        self, runtime: Runtime, categories: CategoryTable, settings: InferenceSettings, source: str, digest: str = ""
    ) -> None:
        self.categories = categories
        self.settings = settings
        self.source = source
        self.digest = digest
        """SHA-256 of the file of weights; empty where it is not known."""
        self._runtime = runtime

    def __repr__(self) -> str:
        things, stuff = len(self.categories.things), len(self.categories.stuff)
        return f"<panoptic_segformer.Model {self.source}: {things} thing and {stuff} stuff categories>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled or copied; load it in each process by panoptic_segformer.load")

    @overload
    def __call__(self, images: ImageLike) -> Result: ...

    @overload
    def __call__(self, images: list[Form]) -> list[Result]: ...

    def __call__(self, images: ImageLike | list[Form]) -> Result | list[Result]:
        """Predict an image, or a list of them.

        Args:
            images: a path, a PIL image, an array (H, W, 3) uint8 RGB or (H, W) gray, a tensor (3, H, W) uint8 or
                float of 0..1, the bytes of an image file; or a list of such.

        Raises:
            DatasetError: a file is missing or damaged.
            ValueError: something else is no image, or the network's output is not finite.
        """
        if isinstance(images, list):
            return list(self.stream(named_image(image, f"image {i}") for i, image in enumerate(images)))
        return next(self.stream([named_image(images, "image")]))

    @usual_defaults()
    def find(self, image: NamedImage) -> Unmerged:
        """Run the network on an image, and leave merging for later.

        Raises:
            ValueError: the network's output is not finite.
        """
        settings, inputs = self.settings.merging, [self._runtime.prepare(image.pixels, image.name)]
        found: FoundMasks | MergedMap
        if isinstance(self._runtime, MaskFinder):
            (found,) = self._runtime.find(inputs)
        else:
            found = MergedMap(self._runtime.predict(inputs)[0], settings)
        return Unmerged(image.name, image.pixels, found, self.categories, settings)

    @property
    def leaves_masks(self) -> bool:
        """True if what `find` returns can be merged with any settings; an exported file merges with its own."""
        return isinstance(self._runtime, MaskFinder)

    def stream(self, images: Iterable[NamedImage]) -> Generator[Result]:
        """Predict images one after another, in order, while a thread reads and resizes the next ones.

        Successive images of equal size share a forward pass, up to `settings.batch_size` of them.
        """
        for image, prediction in self._predict(images):
            yield Result.of(image.name, image.pixels, prediction, self.categories)

    def predict_tiled(
        self, image: ImageLike | NamedImage, tile: int | None = None, overlap: int | None = None
    ) -> Result:
        """Predict a large image in overlapping tiles, whose segments are joined over the seams.

        Args:
            image: as in a call, of any size; one that is no larger than a tile gives the result that it gives without
                tiles.
            tile: side of a tile in pixels; by default `settings.shorter`, at which the network sees the image's own
                pixels. A larger tile is shrunk to that, a smaller one enlarged.
            overlap: least overlap of neighbors in pixels, by default a quarter of the tile. Things up to this size
                are seen whole by a tile.

        Raises:
            ValueError: the overlap is no smaller than the tile.
        """
        image = image if isinstance(image, NamedImage) else named_image(image, "image")
        tile = self.settings.shorter if tile is None else tile
        height, width = image.pixels.shape[:2]
        tiling = Tiling.of((height, width), tile, tile // 4 if overlap is None else overlap)
        tiles = (NamedImage(image.name, pixels) for pixels in tiling.crops(image.pixels))
        joined = join_tiles(tiling, (prediction for _, prediction in self._predict(tiles)))
        return Result.of(image.name, image.pixels, joined, self.categories)

    def _predict(self, images: Iterable[NamedImage]) -> Iterator[tuple[NamedImage, PanopticPrediction]]:
        size = self.settings.batch_size
        prepared = ahead(((image, self._runtime.prepare(image.pixels, image.name)) for image in images), 2 * size)
        with closing(prepared):
            for _, group in groupby(prepared, key=lambda pair: pair[1].size):
                while batch := list(islice(group, size)):
                    with usual_defaults():
                        predictions = self._runtime.predict([resized for _, resized in batch])
                    yield from zip((image for image, _ in batch), predictions, strict=True)
