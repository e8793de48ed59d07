"""Write a report of a run: one HTML file with scores, errors, curves, robustness, images and how to repeat it."""

from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command

_DETAILS = """Reads the files of a run's folder only. What a run lacks is named with the command that makes it, so
results of another system need no more than evaluate/metrics.json, from `panoptic evaluate`."""
_EXAMPLES = """
panoptic report
panoptic report runs --out report.html
panoptic report ../other/runs --out other.html
"""


def write_report(run: Path, out: Path, plots: Path | None) -> None:
    """Write the page, and its figures as PNG files into the folder `plots`; all or nothing."""
    from panoptic.io.files import write_together
    from panoptic.report import figures
    from panoptic.report.page import render
    from panoptic.report.run_files import RunFiles

    with write_together() as results:
        results.require([out])
        files = RunFiles.read(run)
        page = render(files).encode()
        results.write(out, page)
        for name, image in (figures.plots(files) if plots else {}).items():
            results.write(Path(plots or ".") / f"{name}.png", image)
    print(f"report: {out} ({len(page) / 1e6:.1f} MB)")
    print(f"open it: {out.resolve().as_uri()}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_parser("report", __doc__, _EXAMPLES, _DETAILS)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs"), help="folder of a run (default: runs)")
    parser.add_argument("--out", type=Path, help="HTML file to write (default: report.html in the folder of the run)")
    parser.add_argument("--plots", type=Path, help="also write the figures as PNG files to this folder")
    given = parser.parse_args(argv)
    out = given.out or given.run / "report.html"
    run_command(lambda: write_report(given.run, out, given.plots))


if __name__ == "__main__":
    main()
