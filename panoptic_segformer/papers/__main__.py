"""List the tables and figures of both papers, or print one: the paper's numbers, ours, and the difference.

panoptic papers [KEY]
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from panoptic.io.errors import shown_ids
from panoptic.runtime.cli import command_parser, run_command
from panoptic_segformer.papers.results import RESULTS, RUNS, Results

_DETAILS = (
    "A folder SYSTEM/ in --runs, a copy of the runs/ that a recipe left, has the results of a network at its full size."
    " --run trains what is missing on the embedded dataset, a few minutes for each row."
)
_EXAMPLES = """
panoptic papers
panoptic papers v2.T7
panoptic papers v2.T7 --run
panoptic papers v2.T1 --runs results --json
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the exit status is 2 if there is no such table or figure."""
    parser = command_parser("papers", __doc__, _EXAMPLES, _DETAILS)
    parser.add_argument("key", nargs="?", metavar="KEY", help="table or figure, such as v2.T7 or v1.F5 (default: list)")
    parser.add_argument("--run", action="store_true", help="make what the table lacks on mini")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=Path, default=RUNS, help="finished runs, by system (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="results of the benchmarks (default: %(default)s)"
    )
    given = parser.parse_args(argv)
    if given.run and not given.key:
        parser.error("--run makes one table; name it, such as v2.T7")
    results = Results(given.runs, given.results)

    def command() -> None:
        _require_folder(given.runs, is_optional=given.run or given.runs == RUNS)
        _require_folder(given.results, is_optional=given.results == RESULTS)
        print(_table(given.key, results, given.run, given.json) if given.key else _list(results, given.json))
        if unread := results.unread():
            message = (
                f"left out: {len(unread)} folders of {given.runs} that are no system of the papers or have no results"
            )
            print(f"{message}: {shown_ids(unread, 3)}", file=sys.stderr)

    run_command(command)


def _require_folder(path: Path, is_optional: bool) -> None:
    if not path.is_dir() and (path.exists() or not is_optional):
        raise ValueError(f"{path}: {'is no' if path.exists() else 'there is no such'} folder; check the path")


def _table(key: str, results: Results, run: bool, as_json: bool) -> str:
    from model.published.papers import paper_tables
    from panoptic_segformer.papers.running import make_missing
    from panoptic_segformer.papers.table import TableView

    tables = paper_tables()
    if key not in tables:
        raise ValueError(f"{key}: no table or figure of the papers; choose from {', '.join(tables)}")
    if run:
        make_missing(TableView(tables[key], results))
    view = TableView(tables[key], results)
    return json.dumps(view.to_json(), indent=1) if as_json else view.page().rstrip()


def _list(results: Results, as_json: bool) -> str:
    from panoptic_segformer.papers.overview import describe_all, overview_json, overview_page

    entries = describe_all(results)
    return json.dumps(overview_json(entries), indent=1) if as_json else overview_page(entries).rstrip()


if __name__ == "__main__":
    main()
