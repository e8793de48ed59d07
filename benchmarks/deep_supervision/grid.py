"""The grid: networks that differ in depth, steps and weight of the class losses, each with and without an option."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from benchmarks.compare_models.differences import Pair
from benchmarks.compare_models.rows import ComparedModel, RowTable, mask_layers
from model.training.criterion import LossWeights

PAGE = "deep_supervision"
TITLE = "Deep supervision and box-free training, by depth, queries, length of training and weight of the class losses"


@dataclass(frozen=True)
class Question:
    """An option of the network, and the paper's claim about it.

    Attributes:
        title: of what is subtracted from what.
        claim: the paper's, in words.
        relation: of the difference to 0 according to the claim: above, or close.
        changed: settings without deep supervision, or without boxes; the reference has both.
        subtracts_changed: True for reference minus changed, False for changed minus reference.
    """

    title: str
    claim: str
    relation: str
    changed: Mapping[str, Mapping[str, object]]
    subtracts_changed: bool


QUESTIONS: Mapping[str, Question] = {
    "deep_supervision": Question(
        "deep supervision minus none",
        "deep supervision makes the mask decoder better and its training converge faster (section 4.3 and figure 5)",
        "above",
        {"train": {"deep_supervision": False}},
        subtracts_changed=True,
    ),
    "box_free": Question(
        "box-free minus boxes",
        "centers of mass are nearly as good as boxes, 49.2 against 49.6 PQ (table 6)",
        "close",
        {"model": {"location_target": "center"}},
        subtracts_changed=False,
    ),
}


QUERIES: Mapping[str, Mapping[str, object]] = {
    "encoder": {"query_initialization": "encoder", "token_classes": True},
    "learned": {"query_initialization": "learned", "token_classes": False},
}
"""Where the queries of things start: from tokens of the encoder, which are classified for that, or learned, as
published."""


@dataclass(frozen=True, order=True)
class Cell:
    """The settings that two compared networks have in common."""

    depth: int
    """Blocks of the mask decoders, of things and of stuff."""
    queries: str
    """A key of `QUERIES`."""
    class_weight: float
    """Factor of all class losses, on top of those of params.yaml."""
    steps: int

    @property
    def row(self) -> str:
        """Name of the row of the reference."""
        return f"layers_{self.depth}-{self.queries}-class_{self.class_weight:g}-steps_{self.steps}"

    def changed_row(self, question: str) -> str:
        """Name the row without deep supervision, or without boxes."""
        return f"{self.row}-{question}"

    def pair(self, question: str) -> Pair:
        """Return the rows of a comparison: the second is subtracted from the first."""
        reference, changed = self.row, self.changed_row(question)
        return (reference, changed) if QUESTIONS[question].subtracts_changed else (changed, reference)

    def model(self, losses: LossWeights) -> ComparedModel:
        """Return the reference, given the factors of the losses at a class weight of 1."""
        weights = {name: getattr(losses, name) * self.class_weight for name in _CLASS_LOSSES}
        if not QUERIES[self.queries]["token_classes"]:
            weights["token_class"] = 0.0
        model = {**QUERIES[self.queries], **mask_layers(self.depth)}
        settings: dict[str, dict[str, object]] = {"model": model, "train": {"losses": weights}}
        return ComparedModel(self.row, settings=settings, steps=self.steps)


_CLASS_LOSSES = ("query_class", "stuff_class", "token_class")


def make_cells(
    depths: Sequence[int], queries: Sequence[str], class_weights: Sequence[float], steps: Sequence[int]
) -> list[Cell]:
    """Combine all values, each once, in increasing order. Raises `ValueError` for those of no training."""
    if min(steps) < 1 or not all(0 <= weight < math.inf for weight in class_weights):
        raise ValueError(
            f"found steps {', '.join(map(str, steps))} and class weights {', '.join(map(str, class_weights))}; give at"
            " least 1 step, and finite weights from 0 on"
        )
    cells = {cell.row: cell for cell in (Cell(*values) for values in product(depths, queries, class_weights, steps))}
    return sorted(cells.values())


def grid_table(cells: Sequence[Cell], questions: Sequence[str], losses: LossWeights) -> RowTable:
    """Make the rows: of every cell the reference, and the network that each question changes."""
    rows = {}
    for cell in cells:
        reference = rows[cell.row] = cell.model(losses)
        for question in questions:
            name, changed = cell.changed_row(question), QUESTIONS[question].changed
            settings = {
                section: {**reference.settings.get(section, {}), **changed.get(section, {})}
                for section in ("model", "train")
            }
            rows[name] = replace(reference, title=name, settings=settings)
    return RowTable(PAGE, TITLE, rows)
