"""Carry weights over to a network that differs in its classes, or in how it segments stuff.

Rows of heads and queries that stand for a class follow it (`match_classes`), and everything else is taken as it is.
What the old network lacks keeps its initial value.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.segmenter import Segmenter
from model.weights.checkpoint import meta_entries
from model.weights.description import CheckpointError, Description
from model.weights.loading.class_match import ClassMatch, match_classes
from panoptic.format.categories import CategoryTable


@dataclass(frozen=True)
class Transferred:
    """Weights for a network, and what became of the rest."""

    state: dict[str, Tensor]
    classes: ClassMatch
    initial: tuple[str, ...]  # entries with initial values, perhaps in some rows only
    dropped: tuple[str, ...]  # entries that the new network lacks

    def lines(self) -> list[str]:
        """Describe what was not taken as it is; empty if everything was."""
        lines = [] if self.classes.is_complete else self.classes.lines()
        return [*lines, *(f"dropped, as the network has no such part: {part}" for part in _parts(self.dropped))]


def transfer(
    weights: Mapping[str, Tensor],
    found: Description,
    network: Segmenter,
    categories: CategoryTable,
    source: str,
) -> Transferred:
    """Make the state of a network from the weights of another one.

    Args:
        weights: state dict of the other network.
        found: its sizes and classes.
        network: receives the state; its own entries are the initial values.
        categories: its classes.
        source: file of the weights, for messages.

    Raises:
        CheckpointError: the networks differ in other sizes too, or a class cannot be told by its name.
    """
    initial = network.state_dict()
    _require_same_sizes(found.config, network, categories, source)
    match = match_classes(found.categories, categories, source)
    rows, old_rows = class_rows(network.config, categories), class_rows(found.config, found.categories)
    state: dict[str, Tensor] = {}
    incomplete: list[str] = []
    for name, own in initial.items():
        state[name] = weights[name] if name in weights and name not in rows else own.clone()
        sources, known = [match.sources.get(new) for new in rows.get(name, ())], old_rows.get(name, [])
        taken = {row: known.index(old) for row, old in enumerate(sources) if old in known}
        for row, old_row in taken.items():
            state[name][row] = weights[name][old_row]
        if name in rows and name in weights:  # rows after those of the classes: no object
            state[name][len(sources) :] = weights[name][len(known) :]
        if name not in weights or len(taken) < len(sources):
            incomplete.append(name)
    return Transferred(state, match, tuple(incomplete), tuple(name for name in weights if name not in initial))


def class_rows(config: NetworkConfig, categories: CategoryTable) -> dict[str, list[int]]:
    """Return the category ids that the rows of an entry stand for, for all entries that grow with the classes."""
    things, stuff = len(categories.things), len(categories.stuff)
    own = meta_entries(config, things, stuff)
    grown = (
        (categories.things, meta_entries(config, things + 1, stuff)),
        (categories.stuff, meta_entries(config, things, stuff + 1)),
    )
    rows = {
        name: [category.id for classes, more in grown if more[name].shape != tensor.shape for category in classes]
        for name, tensor in own.items()
    }
    return {name: ids for name, ids in rows.items() if ids}


def _require_same_sizes(config: NetworkConfig, network: Segmenter, table: CategoryTable, source: str) -> None:
    own = asdict(network.config)
    with_own_stuff = asdict(config) | {"stuff": own["stuff"]}
    try:
        adapted = meta_entries(NetworkConfig(**with_own_stuff), len(table.things), len(table.stuff))
    except ValueError:
        adapted = {}
    if _shapes(adapted) != _shapes(network.state_dict()):
        sizes = asdict(config)
        other = ", ".join(f"{name} {own[name]} instead of {sizes[name]}" for name in own if own[name] != sizes[name])
        raise CheckpointError(
            f"{source} is a network of another shape; the model section has {other}: correct it, or name another file"
        )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _parts(entries: tuple[str, ...]) -> list[str]:
    """Return the parts of a network that entries belong to, with their number: `stuff_masks (93 entries)`."""
    parts = [entry.partition(".")[0] for entry in entries]
    return [f"{part} ({parts.count(part)} entries)" for part in dict.fromkeys(parts)]
