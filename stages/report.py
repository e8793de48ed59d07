"""Write a report of a run, or compare runs: one HTML file with scores, errors, curves, robustness, images, settings."""

from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command

_DETAILS = """Reads the files of a run's folder only. What a run lacks is named with the command that makes it, so
results of another system need no more than evaluate/metrics.json, from `panoptic evaluate`. Several runs are compared
with the first one, by paired differences with their 95 % intervals; they are scored on the same images, and also need
evaluate/per_image.json."""
_EXAMPLES = """
panoptic report
panoptic report runs --out report.html
panoptic report ../other/runs --out other.html
panoptic report runs ../other/runs --out comparison.html
"""


def write_page(runs: Sequence[Path], out: Path, plots: Path | None) -> None:
    """Write the report of a run, or the comparison of several with the first of them; all or nothing.

    The figures of a single run go as PNG files into the folder `plots`.
    """
    from panoptic.io.files import write_together
    from panoptic.report import figures
    from panoptic.report.comparison import Comparison
    from panoptic.report.comparison_page import render_comparison
    from panoptic.report.page import render
    from panoptic.report.run_files import RunFiles

    with write_together() as results:
        results.require([out])
        if len(runs) > 1:
            page = render_comparison(Comparison.read(runs)).encode()
        else:
            files = RunFiles.read(runs[0])
            page = render(files).encode()
            if plots:
                for name, image in figures.plots(files).items():
                    results.write(plots / f"{name}.png", image)
        results.write(out, page)
    size = f"{len(page) / 1e6:.1f} MB" if len(page) >= 1e6 else f"{len(page) / 1e3:.0f} kB"
    print(f"report: {out} ({size})")
    print(f"open it: {out.resolve().as_uri()}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_parser("report", __doc__, _EXAMPLES, _DETAILS)
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="folders of runs (default: runs)")
    help_out = "HTML file to write (default: report.html, or comparison.html, in the folder of the first run)"
    parser.add_argument("--out", type=Path, help=help_out)
    parser.add_argument("--plots", type=Path, help="also write the figures as PNG files to this folder")
    given = parser.parse_args(argv)
    runs = given.runs or [Path("runs")]
    out = given.out or runs[0] / ("comparison.html" if len(runs) > 1 else "report.html")
    if len(runs) > 1 and given.plots:
        parser.error("--plots draws the figures of one run; give a single RUN")
    run_command(lambda: write_page(runs, out, given.plots))


if __name__ == "__main__":
    main()
