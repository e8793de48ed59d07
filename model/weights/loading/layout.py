"""Correspondence between the entries of a published checkpoint and those of our network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.network.backbones.family import BackboneSize

SHOWN_LINES = 16


class OfficialLayoutError(ValueError):
    """A state dict that does not have the published layout of the intended network."""


@dataclass(frozen=True)
class Layout:
    """Published names, and the entries of ours that each stands for."""

    sources: Mapping[str, tuple[str, ...]]
    """Our entries that a published one holds, joined along the first dimension."""
    fixed: Mapping[str, Tensor] = field(default_factory=dict)
    """Published buffers that follow from the sizes of the network, so that ours lacks them."""

    def to_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert our state dict to the published names."""
        joined = {
            name: torch.cat([state[key] for key in keys]) if len(keys) > 1 else state[keys[0]]
            for name, keys in self.sources.items()
        }
        return joined | {name: tensor.clone() for name, tensor in self.fixed.items()}

    def from_official(self, official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert published entries to our names, in the order of `expected`.

        Raises:
            OfficialLayoutError: entries are missing, unknown, or of another shape or type; names them.
        """
        issues = self.issues(official, expected)
        if issues:
            raise OfficialLayoutError("\n".join([f"does not fit the network ({len(issues)} in all):", *listed(issues)]))
        ours: dict[str, Tensor] = {}
        for name, keys in self.sources.items():
            parts = (
                torch.split(official[name], [len(expected[key]) for key in keys]) if len(keys) > 1 else [official[name]]
            )
            ours.update(zip(keys, parts, strict=True))
        return {key: ours[key] for key in expected}

    def issues(self, official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, str]:
        """Find the issues of published entries, by name. Of `expected` only names, shapes and types are used."""
        issues = {name: "missing" for name in (*self.sources, *self.fixed) if name not in official}
        for name, tensor in official.items():
            if name in self.sources:
                issue = _misfit(tensor, [expected[key] for key in self.sources[name]])
            elif name in self.fixed:
                issue = "" if torch.equal(tensor, self.fixed[name]) else "does not follow from the window size"
            else:
                issue = "unknown"
            if issue:
                issues[name] = issue
        return issues

    def forms(self, expected: Mapping[str, Tensor]) -> dict[str, "Form"]:
        """Return the form of every published entry."""
        parts = {name: [expected[key] for key in keys] for name, keys in self.sources.items()}
        return {name: form_of(tensors) for name, tensors in parts.items()} | {
            name: form_of([tensor]) for name, tensor in self.fixed.items()
        }


@dataclass(frozen=True)
class Form:
    """What two entries have in common that can stand for each other."""

    shape: tuple[int, ...]
    is_float: bool


def backbone_layout(size: BackboneSize, expected: Mapping[str, Tensor]) -> Layout:
    """Correspondence between the entries of the authors' files and those of a backbone's body.

    Names come without the prefix `backbone.`, ours without `backbone.body.`.
    """
    return Layout(
        layout_of({key: size.official_key(key) for key in expected}, size.joined), size.official_buffers(expected)
    )


def layout_of(names: Mapping[str, str], joined: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Make the sources of a `Layout` from the published name of each of our keys.

    Args:
        names: published name by our key; keys with the same name are joined.
        joined: name parts that tell such keys apart, in the order of joining; the order of `names` does not matter.
    """
    ranks = {part: rank for rank, part in enumerate(joined)}
    sources: dict[str, list[str]] = {}
    for key, name in names.items():
        sources.setdefault(name, []).append(key)
    for keys in sources.values():
        if len(keys) > 1:
            keys.sort(key=lambda key: next(ranks[part] for part in key.split(".") if part in ranks))
    return {name: tuple(keys) for name, keys in sources.items()}


def _misfit(tensor: Tensor, parts: list[Tensor]) -> str:
    """Say why a published entry cannot hold these parts; empty if it can.

    A half-precision entry fits: the network's precision represents its values exactly, both ways.
    """
    shape = form_of(parts).shape
    if tuple(tensor.shape) != shape:
        return f"has shape {tuple(tensor.shape)}, expected {shape}"
    dtype = parts[0].dtype
    if tensor.is_floating_point() != dtype.is_floating_point or torch.promote_types(tensor.dtype, dtype) != dtype:
        return f"has type {type_name(tensor.dtype)}, expected {type_name(dtype)}"
    return ""


def form_of(parts: Sequence[Tensor]) -> Form:
    """Return the form of the published entry that holds these parts, or of a single one."""
    shape = tuple(parts[0].shape) if len(parts) == 1 else (sum(map(len, parts)), *parts[0].shape[1:])
    return Form(shape, parts[0].is_floating_point())


def type_name(dtype: torch.dtype) -> str:
    """Name of a type, for example `float32`."""
    return str(dtype).removeprefix("torch.")


def listed(issues: Mapping[str, str]) -> list[str]:
    """List issues, one line for all entries with the same issue whose names differ by numbers only."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, issue in issues.items():
        groups.setdefault((re.sub(r"\d+", "#", name), issue), []).append(name)
    lines = [f"  - {_together(names)}: {issue}" for (_, issue), names in groups.items()]
    more = len(lines) - SHOWN_LINES
    return lines if more <= 0 else [*lines[:SHOWN_LINES], f"  ... and {more} more lines like these"]


def _together(names: list[str]) -> str:
    """Join names that differ by numbers only: `layers.{0..5}.bias (6 entries)`."""
    if len(names) == 1:
        return names[0]
    columns = zip(*(map(int, re.findall(r"\d+", name)) for name in names), strict=True)
    numbers = iter([_range(sorted(set(column))) for column in columns])
    return f"{re.sub(r'[0-9]+', lambda _: next(numbers), names[0])} ({len(names)} entries)"


def _range(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    without_gap = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{{{numbers[0]}..{numbers[-1]}}}" if without_gap else f"{{{','.join(map(str, numbers))}}}"
