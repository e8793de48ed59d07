"""The names of results, from those of the inputs: equal ones are told apart, or refused before anything is done."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from panoptic.datasets.layout import is_image
from panoptic.io.errors import DatasetError
from panoptic.io.names import checked_name
from panoptic_segformer.predict.inputs import Input

_FILES = (".json", ".mp4")
"""Suffixes of results beside those of images."""


def result_names(inputs: Sequence[Input], out: Path) -> list[str]:
    """Name the results of inputs, without a suffix and with the folders below their source.

    The first of these that gives every input a name of its own, which no folder has: the name without its suffix; with
    the folder, archive or host that it comes from in front; with its suffix; with both; with as much of the source's
    path as it takes.

    Raises `DatasetError` if two still have one name.
    """
    for names in _candidates(inputs):
        if len(set(names)) == len(names) and not _in_the_way(names):
            return [checked_name(name, out) for name in names]
    owners: dict[str, list[Input]] = defaultdict(list)
    for name, one in zip(names, inputs, strict=True):
        owners[name].append(one)
    doubles = [(name, same) for name, same in owners.items() if len(same) > 1]
    both = f"'{_in_the_way(names)}' would be where others need a folder"
    if doubles:
        name, (first, second, *_) = doubles[0]
        both = f"{first.where} and {second.where} would both be named '{name}'"
    raise DatasetError(f"{out}: the results of {both}; predict them into two folders (--out), or rename one")


def _candidates(inputs: Sequence[Input]) -> Iterator[list[str]]:
    for names in ([PurePosixPath(one.name).with_suffix("").as_posix() for one in inputs], [one.name for one in inputs]):
        yield names
        yield [f"{one.group}/{name}" for one, name in zip(inputs, names, strict=True)]
    places = [[part for part in one.place.parts if part != "/"] for one in inputs]
    for depth in range(1, 1 + max(map(len, places), default=0)):
        yield ["/".join([*place[-depth:], one.name]) for one, place in zip(inputs, places, strict=True)]


def _in_the_way(names: Sequence[str]) -> str:
    """Return a name whose files would be where others need a folder, as `a` of `a.jpg` beside `a.png/b.jpg`."""
    folders = {folder for name in names for folder in PurePosixPath(name).parents}
    files = {
        folder.with_suffix("").as_posix() for folder in folders if is_image(folder.name) or folder.suffix in _FILES
    }
    return next(iter(files.intersection(names)), "")
