"""A table of a paper with our results beside its rows, as Markdown or JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from model.published.papers import Column, PaperRow, PaperTable
from panoptic.markdown import markdown_page, markdown_table
from panoptic_segformer.papers.results import Results
from panoptic_segformer.papers.systems import FIGURES, OF_A_MACHINE, SYSTEMS, Source, System, command

_LEGEND = (
    "*paper*: as printed. *ours*: the paper's network, scored after training on its dataset; parameters and FLOPs"
    " counted, FPS and memory measured on another machine than the paper's. *mini*: the same design at the size of the"
    " embedded dataset, mean over the seeds. *difference*: to the paper, of ours where there is one, else of mini,"
    " which is another task: compare rows with each other there."
)
_SHARED = "`mini` has one backbone, one schedule and one dataset, so these rows have no result of their own there"
_WITHOUT_NUMBERS: Mapping[str, str] = MappingProxyType(
    {"illustration": "an illustration, nothing to measure", "not available": "not available here"}
)


def how_made(table: PaperTable) -> str:
    """Say what draws a figure, or why there is nothing to make."""
    if table.key not in FIGURES:
        return _WITHOUT_NUMBERS[table.status]
    drawing = FIGURES[table.key]
    return f"`{drawing.command}` draws it" + (f": {drawing.result}" if Path(drawing.result).exists() else "")


@dataclass(frozen=True)
class RowView:
    """A row with what we have for it.

    Attributes:
        system: None if it is quoted from other work and not built here.
        ours: of the network as the paper has it, by column.
        mini: of the same design on `mini`, by column.
        sources: what its results on `mini`, and its speed, are read from.
        missing: those of them that are not there yet.
    """

    row: PaperRow
    system: System | None = None
    ours: Mapping[str, float] = field(default_factory=dict)
    mini: Mapping[str, float] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    missing: tuple[Source, ...] = ()

    @property
    def label(self) -> str:
        epochs = f", {self.row.epochs} epochs" if self.row.epochs else ""
        return f"{self.row.method}, {self.row.backbone}{epochs}"

    def difference(self, column: Column) -> float | None:
        """Return ours, or else what we have on `mini`, minus the paper's; None where one of them is missing."""
        paper = self.row.cells[column.name]
        own = self.ours.get(column.name, self.mini.get(column.name))
        return None if paper is None or own is None or column.name in OF_A_MACHINE else own - paper


@dataclass(frozen=True)
class TableView:
    """A table, and what lies here for its rows."""

    table: PaperTable
    results: Results

    @cached_property
    def rows(self) -> tuple[RowView, ...]:
        return tuple(map(self._view, self.table.rows))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table.columns)

    @cached_property
    def _shown(self) -> Mapping[Source | None, str]:
        """The system that a result on `mini` is shown for: of those that share it, the one that it is most like."""
        built = [(row.system, SYSTEMS[row.system]) for row in self.table.rows if row.system in SYSTEMS]
        shown: dict[Source | None, str] = {}
        for name, system in sorted(built, key=lambda item: item[1].shares_mini):
            shown.setdefault(system.on_mini(self.columns), name)
        return shown

    def _view(self, row: PaperRow) -> RowView:
        system = SYSTEMS.get(row.system)
        if system is None:
            return RowView(row)
        small, timed = system.on_mini(self.columns), system.timed(self.columns)
        small = small if self._shown[small] == row.system else None
        ours = self._in_columns({**self.results.costs(system), **self.results.of_recipe(row.system, self.table)})
        mini = self._in_columns(self.results.on_mini(small)) if small else {}
        states = ((small, bool(mini)), (timed, "FPS" in ours))
        return RowView(
            row,
            system,
            ours,
            mini,
            tuple(source for source, _ in states if source),
            tuple(source for source, is_there in states if source and not is_there),
        )

    def _in_columns(self, found: Mapping[str, float]) -> Mapping[str, float]:
        return {column: found[column] for column in self.columns if column in found}

    def missing(self) -> list[list[str]]:
        """Return the commands that make what lies nowhere, with all rows that one command makes."""
        sources = sorted((source for view in self.rows for source in view.missing), key=lambda source: source.page)
        return [command(list(found)) for _, found in groupby(sources, key=lambda source: source.page)]

    def to_json(self) -> dict[str, object]:
        """Return everything as a JSON document."""
        table = self.table
        return {
            "key": table.key,
            "title": table.title,
            "data": table.data,
            "status": table.status,
            "remark": table.remark,
            "units": {column.name: column.unit for column in table.columns},
            "rows": [self._row_to_json(view) for view in self.rows],
        }

    def _row_to_json(self, view: RowView) -> dict[str, object]:
        row = view.row
        known: dict[str, object] = {
            "system": row.system,
            "method": row.method,
            "backbone": row.backbone,
            "epochs": row.epochs,
            "own": row.is_own,
            "remark": row.remark,
            "paper": dict(row.cells),
        }
        if view.system is None:
            return {**known, "quoted": True}
        return known | {
            "ours": view.ours,
            "mini": view.mini,
            "difference": {column.name: view.difference(column) for column in self.table.columns},
            "recipe": view.system.recipe.split(),
            "commands": [f"python -m {' '.join(command([source]))}" for source in view.sources],
        }

    def page(self) -> str:
        """Render the rows, then their remarks, and the commands that make them."""
        table = self.table
        title, about = f"# {table.key}: {table.title}", ". ".join(filter(None, (table.data, table.remark)))
        if not self.rows:
            return markdown_page(title, f"{about}." if about else "", f"Status: {how_made(table)}.")
        lines = [line for view in self.rows for line in self._lines(view)]
        remarks = [f"* {view.label}: {remark}" for view in self.rows for remark in self._remarks(view)]
        shared = "; ".join(view.label for view in self.rows if view.system and not view.sources)
        return markdown_page(
            title,
            f"{about}.",
            markdown_table(["row", "", *map(_heading, table.columns)], lines, labels=2),
            _LEGEND,
            "\n".join(remarks),
            f"{_SHARED}: {shared}." if shared else "",
            f"Drawing: {how_made(table)}." if table.key in FIGURES else "",
            "## How the rows are made",
            markdown_table(["row", f"on {table.data or 'COCO'}", "on mini; speed"], self._commands(), labels=3),
        )

    def _remarks(self, view: RowView) -> Iterator[str]:
        counted = self.results.remark_on_costs(view.system) if view.system and "parameters" in self.columns else ""
        return filter(None, (view.row.remark, counted))

    def _lines(self, view: RowView) -> Iterator[list[str | None]]:
        columns = self.table.columns
        paper = [_number(view.row.cells[column.name]) for column in columns]
        yield [view.label, "paper" if view.system else "quoted", *paper]
        for name, found in (("ours", view.ours), ("mini", view.mini)):
            if found:
                yield ["", name, *(_number(found.get(column.name)) for column in columns)]
        differences = [view.difference(column) for column in columns]
        if any(difference is not None for difference in differences):
            yield ["", "difference", *("" if one is None else f"{round(one, 1) + 0:+.1f}" for one in differences)]

    def _commands(self) -> Iterator[list[str]]:
        for view in self.rows:
            if view.system is None:
                yield [view.label, "quoted", "quoted"]
            else:
                made = "; ".join(f"python -m {' '.join(command([source]))}" for source in view.sources)
                yield [view.label, f"--experiment {view.system.recipe}", made]


def _heading(column: Column) -> str:
    name = column.name.replace("_", " ")
    return name if column.unit == "%" else f"{name}, {column.unit}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
