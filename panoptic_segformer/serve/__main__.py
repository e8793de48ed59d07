"""Predict images that programs send over HTTP, or people drop on a page."""

import argparse
from collections.abc import Sequence

from panoptic.runtime.cli import run_command
from panoptic_segformer.serve.limits import Limits

_DESCRIPTION = """Predict images that programs send over HTTP, or people drop on a page.

The page is at the address that is printed. It needs no internet, and nothing is written to disk. Only this machine can
reach the server, unless --host says otherwise; it knows no passwords, so open it only to people you trust."""
_EXAMPLES = """examples:
  panoptic serve --model runs/train/model.safetensors
  curl -F file=@photo.jpg http://127.0.0.1:8080/predict
  curl --data-binary @photo.jpg 'http://127.0.0.1:8080/predict?format=overlay' -o overlay.png"""
_DEFAULT_MODEL = "runs/train/model.safetensors"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="panoptic serve",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default=_DEFAULT_MODEL, help="weights (default: %(default)s)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    parser.add_argument("--shorter", type=int, metavar="PIXELS", help="size that the shorter side is scaled to")
    parser.add_argument("--longer", type=int, metavar="PIXELS", help="most that the longer side is scaled to")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free (default: %(default)s)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name by which clients reach it"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--megabytes", type=int, default=Limits.megabytes, help="of an upload (default: %(default)s)")
    limits.add_argument("--megapixels", type=int, default=Limits.megapixels, help="of an image (default: %(default)s)")
    limits.add_argument(
        "--queue", type=int, default=Limits.queue, help="requests at the same time (default: %(default)s)"
    )
    limits.add_argument(
        "--seconds", type=float, default=Limits.seconds, help="until an answer is given up (default: %(default)s)"
    )
    limits.add_argument(
        "--kept-megabytes",
        type=int,
        default=Limits.kept_megabytes,
        help="memory for images that the page may merge again (default: %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        names = ("megabytes", "megapixels", "queue", "seconds", "kept_megabytes")
        limits = Limits(**{name: getattr(arguments, name) for name in names})
        from panoptic_segformer.serve.server import Address, serve

        sizes = {name: getattr(arguments, name) for name in ("shorter", "longer")}
        settings = {name: value for name, value in sizes.items() if value is not None}
        address = Address(arguments.host, arguments.port, tuple(arguments.allow_host))
        serve(arguments.model, address, limits, arguments.device, settings)

    run_command(command)


if __name__ == "__main__":
    main()
