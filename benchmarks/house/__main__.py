"""Measure the code: folders, lines, names, functions, and the files that common extensions touch.

    python -m benchmarks.house
    python -m benchmarks.house --against 2f9e37c
    python -m benchmarks.house --revision main~5 --against 2f9e37c

Reads the working tree, or the files of another revision through git. Writes house.md and house.json.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from benchmarks.house.errands import Errand, errands
from benchmarks.house.measures import Revision, measure
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command

GUIDE = PurePosixPath("docs/extending.md")


@dataclass(frozen=True)
class HouseReport:
    """Measures by name, and errands; `before` is empty without a revision to compare with."""

    revision: str | None
    against: str | None
    before: dict[str, float | None]
    after: dict[str, float | None]
    errands: list[Errand]


def house_page(report: HouseReport) -> str:
    """Render the measures and the errands."""
    after = f"revision {report.revision}" if report.revision else "this checkout"
    if report.against:
        header = ["", f"before ({report.against})", f"after ({after})"]
        rows = [[name, _cell(report.before[name]), _cell(value)] for name, value in report.after.items()]
    else:
        header = ["", after]
        rows = [[name, _cell(value)] for name, value in report.after.items()]
    return markdown_page(
        "# The code itself",
        "Written by `python -m benchmarks.house`. Identifiers are counted at every occurrence outside tests; a folder"
        " counts its own modules, not those of its subfolders.",
        markdown_table(header, rows),
        "## Files to touch",
        f"Before: revision 2f9e37c, counted by hand. After: files in the diffs of [{GUIDE}](../../{GUIDE}).",
        markdown_table(
            ["to add a", "before", "after"],
            [[errand.name, _cell(errand.before), _cell(errand.after)] for errand in report.errands],
        ),
    )


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("house", __doc__)
    parser.add_argument("--revision", help="measure this commit (default: the working tree)")
    parser.add_argument("--against", metavar="REVISION", help="compare with this commit")
    arguments = parser.parse_args(argv)

    def command() -> None:
        revision = Revision.read(arguments.revision)
        report = HouseReport(
            revision=arguments.revision,
            against=arguments.against,
            before=measure(Revision.read(arguments.against)) if arguments.against else {},
            after=measure(revision),
            errands=errands(revision.texts.get(GUIDE)),
        )
        publish("house", house_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
