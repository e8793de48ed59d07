"""Predict images that programs send over HTTP, or people drop on a page."""

import argparse
from collections.abc import Sequence

from panoptic.runtime.cli import command_parser, run_command
from panoptic_segformer.model_options import add_model_options, load_model
from panoptic_segformer.serve.limits import Limits

_DETAILS = """
The page is at the address that is printed. It needs no internet, and nothing is written to disk. Only this machine can
reach the server, unless --host says otherwise; it knows no passwords, so open it only to people you trust.
"""
_EXAMPLES = """
panoptic serve --model runs/train/model.safetensors
curl -F file=@photo.jpg http://127.0.0.1:8080/predict
curl --data-binary @photo.jpg 'http://127.0.0.1:8080/predict?format=overlay' -o overlay.png
"""
_LIMITS = {
    "megabytes": "of an upload",
    "megapixels": "of an image",
    "queue": "requests at the same time",
    "seconds": "until an answer is given up",
    "kept_megabytes": "memory for images that the page may merge again",
}


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("serve", __doc__, _EXAMPLES, _DETAILS)
    add_model_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free (default: %(default)s)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name by which clients reach it"
    )
    limits = parser.add_argument_group("limits")
    for name, what in _LIMITS.items():
        default: float = getattr(Limits, name)
        option = f"--{name.replace('_', '-')}"
        limits.add_argument(option, type=type(default), default=default, help=f"{what} (default: %(default)g)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        limits = Limits(**{name: getattr(arguments, name) for name in _LIMITS})
        from panoptic_segformer.serve.server import Address, serve

        address = Address(arguments.host, arguments.port, tuple(arguments.allow_host))
        serve(address, limits, lambda: load_model(arguments))

    run_command(command)


if __name__ == "__main__":
    main()
