"""The list of all tables and figures: what each is, which command makes it, and what lies here."""

from dataclasses import asdict, dataclass
from pathlib import Path

from model.published.papers import PaperTable, paper_tables
from panoptic.markdown import markdown_page, markdown_table
from panoptic_segformer.papers.results import Results
from panoptic_segformer.papers.systems import FIGURES, SYSTEMS
from panoptic_segformer.papers.table import TableView, how_made


@dataclass(frozen=True)
class Entry:
    """A table or figure.

    Attributes:
        rows: all, and those of them that are built here.
        without_command: systems of the paper's own rows that nothing makes.
        command: that makes it; empty if nothing does.
        here: what of it lies here.
    """

    key: str
    title: str
    rows: int
    built: int
    without_command: list[str]
    command: str
    here: str


def describe_all(results: Results) -> list[Entry]:
    """Return all tables and figures of both papers, in their order."""
    return [_describe(table, results) for table in paper_tables().values()]


def _describe(table: PaperTable, results: Results) -> Entry:
    key, systems = table.key, [row.system for row in table.rows]
    built = sum(system in SYSTEMS for system in systems)
    lacking = [row.system for row in table.rows if row.is_own and row.system not in SYSTEMS]
    command, here = f"panoptic papers {key} --run", ""
    if key in FIGURES:
        command, result = FIGURES[key].command, FIGURES[key].result
        here = result if Path(result).exists() else "nothing yet"
    elif not built:
        command, here = "", how_made(table)
    else:
        view = TableView(table, results)
        finished = sum(results.of_recipe(system, table).keys() & view.columns != set() for system in systems)
        sources = sum(len(row.sources) for row in view.rows)
        there = sources - sum(len(row.missing) for row in view.rows)
        here = f"mini, speed: {there} of {sources}" + (f"; full size: {finished} of {built}" if table.data else "")
    return Entry(key, table.title, len(systems), built, lacking, command, here)


def overview_page(entries: list[Entry]) -> str:
    """Render the list, and the number of rows that have no command."""
    rows = [
        [entry.key, entry.title, f"{entry.rows}, {entry.built}" if entry.rows else "", entry.here, entry.command]
        for entry in entries
    ]
    lacking = [f"{entry.key} {system}" for entry in entries for system in entry.without_command]
    quoted = sum(entry.rows - entry.built for entry in entries)
    named = f" ({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''})" if lacking else ""
    return markdown_page(
        markdown_table(["key", "what it is", "rows, built", "here", "command"], rows, labels=5),
        f"{sum(entry.built for entry in entries)} rows are built here, {quoted} are quoted from other work,"
        f" {len(lacking)} of the papers' own have no command{named}.",
        "v1: arXiv 2109.03814v1, v2: CVPR 2022. `panoptic papers KEY` prints one.",
    )


def overview_json(entries: list[Entry]) -> list[dict[str, object]]:
    """Return the list as a JSON document."""
    return [{**asdict(entry), "status": paper_tables()[entry.key].status} for entry in entries]
