"""Pairing the files of a split by their stems, in datasets that have one file for each image in every part."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from panoptic.datasets.layout import Part
from panoptic.io.errors import Issues
from panoptic.io.files import open_files


@dataclass(frozen=True)
class Naming:
    """How a dataset names its files, and what errors say of it.

    Attributes:
        dataset: name of the dataset.
        stem: pattern of the stems.
        example: one of them.
        splits: the names of its splits.
        again: how to get its files again.
    """

    dataset: str
    stem: re.Pattern[str]
    example: str
    splits: str
    again: str


def pair_stems(parts: Sequence[Part], naming: Naming, issues: Issues) -> tuple[str, ...]:
    """List all stems that are well formed, sorted.

    Adds an issue for each file that is missing or unusable or has another name, and for each part without files.
    """
    stems = {part: _stems(part, naming, issues) for part in parts}
    everything = sorted(frozenset().union(*stems.values()))
    for stem in everything:
        for part, present in stems.items():
            # If a part is missing as a whole, that is one issue and not thousands.
            if present and stem not in present:
                issues.add(f"{part.path}: {part.name(stem)} is missing; {naming.again}")
    return tuple(everything)


def _stems(part: Part, naming: Naming, issues: Issues) -> frozenset[str]:
    names = part.names()
    if not names:
        folders = sorted({name.rpartition("/")[0] + "/" for name in open_files(part.path).names()})
        expected = f"no {part.name('*')}, but files in {', '.join(folders[:8]) or 'no folder'}"
        issues.add(f"{part.path}: {expected}; the splits are {naming.splits}; name one, or {naming.again}")
    for name, why in open_files(part.path).unusable().items():
        if part.has(name):
            issues.add(f"{part.path}: {name!r} {why}")
    stems = {name: part.stem(name) for name in names}
    for name, stem in stems.items():
        if not naming.stem.fullmatch(stem):
            expected = f"is no name of {naming.dataset}, like {part.name(naming.example)}"
            issues.add(f"{part.path}: {name!r} {expected}; remove it or {naming.again}")
    return frozenset(filter(naming.stem.fullmatch, stems.values()))
