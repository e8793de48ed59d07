"""Reading the images of a run, those of equal size together where a batch has room, and naming what is damaged."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from panoptic.data.decoding import decode_upright, reading_notes
from panoptic.data.image_header import read_header
from panoptic.data.transforms import fitted_size
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.files import FileSource
from panoptic_segformer.images import NamedImage
from panoptic_segformer.model import Model
from panoptic_segformer.predict.inputs import Input

_WINDOW = 32
"""Batches among which images of equal size are looked for: results come about in the order of the images."""


class InputReader:
    """Decodes images for `Model.stream`. `issues` names those that cannot be read, which are left out.

    `contents` has the bytes of images that are in no file, until somebody takes them, if they are `kept`.
    """

    def __init__(self, model: Model, is_kept: bool) -> None:
        self._settings = model.settings
        self._is_kept = is_kept
        self.issues = Issues()
        self.contents: dict[str, bytes] = {}

    def images(self, inputs: Iterable[Input]) -> Iterator[NamedImage]:
        """Yield the images, named by their origin."""
        for each in self._ordered(inputs):
            content, pixels = b"", None
            with self.issues.collected():
                content = each.read()
                pixels = decode_upright(content, each.where)
            if pixels is not None:
                if self._is_kept and each.files is None:
                    self.contents[each.origin] = content
                yield NamedImage(each.origin, pixels)

    def _ordered(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """Put images of equal size for the network beside each other if they can share a batch."""
        batch = self._settings.batch_size
        if batch == 1:
            yield from inputs
            return
        remaining = iter(inputs)
        while window := list(islice(remaining, _WINDOW * batch)):
            yield from sorted(window, key=self._size)

    def _size(self, each: Input) -> tuple[int, int]:
        """Return the size for the network by the header of a file; images that are in no file come first."""
        if each.files is None:
            return (0, 0)
        try:
            with each.files.open(each.name) as file:
                height, width = read_header(file, each.where).size(upright=True)
        except (DatasetError, OSError):  # said when it is read
            return (0, 0)
        return fitted_size(height, width, self._settings.shorter, self._settings.longer)


def notes_on(inputs: Sequence[Input]) -> Iterator[str]:
    """Count and name the images that are not read as a viewer shows them."""
    by_source: dict[str, tuple[FileSource, list[str]]] = {}
    for each in inputs:
        if each.files is not None:
            by_source.setdefault(str(each.files.path), (each.files, []))[1].append(each.name)
    for files, names in by_source.values():
        yield from reading_notes(files, names, upright=True)
