"""Print the paper's table 11 for several runs: PQ clean, on average, and under each corruption.

    python -m panoptic.tools.corruption_table runs/r50 runs/swin_l
    python -m panoptic.tools.corruption_table runs/benchmarks/compare/families/*-0 --group things

A run is a folder with `robustness/variants.json`, which `stages.robustness` writes. PQ is in percent, a mean over the
severities, which have to be the same in all runs. A corruption that a run was not tested with has a dash, and its mean
is over the others, which a line below the table says.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from panoptic.io.errors import DatasetError, shown_ids
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.corruptions import CORRUPTIONS, find_corruption
from panoptic.robustness.summary import CLASS_GROUPS, Robustness, read_variants
from panoptic.runtime.cli import run_command


def corruption_table(runs: Mapping[str, Robustness], group: str = CLASS_GROUPS[0]) -> str:
    """Render a row for each run, by title.

    Raises:
        DatasetError: their severities differ, so that their means cannot be compared.
    """
    (first, robustness), *others = runs.items()
    for title, other in others:
        if other.severities != robustness.severities:
            severities = f"{_listed(other)}, those of {first} {_listed(robustness)}"
            raise DatasetError(f"{title}: the severities are {severities}; measure both with the same ones")
    tested = {name for one in runs.values() for name in one.corruptions}
    own = [name for one in runs.values() for name in one.corruptions if name not in CORRUPTIONS]
    names = [name for name in (*CORRUPTIONS, *dict.fromkeys(own)) if name in tested]
    corruptions = map(find_corruption, names)
    header = ["run", "clean", "mean", *(f"{corruption.group}: {corruption.title}" for corruption in corruptions)]
    of = "" if group == CLASS_GROUPS[0] else f" of {group}"
    return markdown_page(
        f"PQ{of} in percent; means over severities {_listed(robustness)}.",
        markdown_table(header, [_row(title, one, names, group) for title, one in runs.items()]),
        "\n".join(_incomplete(title, one, names) for title, one in runs.items() if len(one.corruptions) < len(names)),
    )


def _listed(robustness: Robustness) -> str:
    return ", ".join(map(str, robustness.severities))


def _row(title: str, robustness: Robustness, names: Sequence[str], group: str) -> list[str]:
    values = [robustness.clean["pq"][group], robustness.mean_pq(classes=group)]
    values += [robustness.pq(name, classes=group) if name in robustness.corruptions else None for name in names]
    return [title, *("-" if value is None else f"{100 * value:.1f}" for value in values)]


def _incomplete(title: str, robustness: Robustness, names: Sequence[str]) -> str:
    missing = [name for name in names if name not in robustness.corruptions]
    return f"The mean of {title} is without {len(missing)} of {len(names)} corruptions: {shown_ids(missing, 3)}."


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m panoptic.tools.corruption_table", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--group", choices=CLASS_GROUPS, default=CLASS_GROUPS[0], help="of classes (default: all)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        runs = {str(run): read_variants(run / "robustness" / "variants.json") for run in arguments.runs}
        print(corruption_table(runs, arguments.group), end="")

    run_command(command)


if __name__ == "__main__":
    main()
