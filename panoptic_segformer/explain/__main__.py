"""Show where a network's queries attend and sample in photos."""

from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command
from panoptic_segformer.model_options import add_model_options, path_or_name

_DETAILS = """
Draws, for the largest segments that are found in each photo, the attention of every layer and head of the mask decoder
and the sampling points of the deformable layers. Writes to --out: explain.html, a page to look at, explain.json and
images/. Photos have no ground truth, so there are no numbers; for these see `python -m stages.explain` and the report.
"""
_EXAMPLES = """
panoptic explain photo.jpg
panoptic explain photos/ --model r50_2x --out explained
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_parser("explain", __doc__, _EXAMPLES, _DETAILS)
    parser.add_argument(
        "inputs", nargs="+", type=path_or_name, metavar="PHOTO", help="image, folder, zip file, pattern, address, -"
    )
    parser.add_argument("--out", type=Path, default=Path("explained"), help="folder to write (default: %(default)s)")
    parser.add_argument(
        "--segments", type=int, default=2, metavar="N", help="things to draw by photo, and stuff (default: %(default)s)"
    )
    add_model_options(parser)
    arguments = parser.parse_args(argv)

    def command() -> None:
        from panoptic_segformer.explain.command import explain_photos

        explain_photos(arguments)

    run_command(command)


if __name__ == "__main__":
    main()
