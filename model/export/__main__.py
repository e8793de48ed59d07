"""Export a trained network as ONNX and for `torch.export`, and check the files against it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command

_EXAMPLES = """
panoptic export --model runs/train/model.safetensors --out runs/export --dynamic
panoptic export --model runs/train/model.safetensors --out runs/export --size 800x1216 --images A.jpg B.jpg
panoptic export --random r50 --out runs/trial --dynamic --format onnx
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Export one network."""
    options = _parser().parse_args(arguments)

    def command() -> None:
        from model.export.command import export

        export(options)

    run_command(command)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__, _EXAMPLES)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="safetensors file that stages.train wrote")
    source.add_argument(
        "--random", metavar="NAME", help="use random weights of this published network, for a trial: r50"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--format", choices=("torch", "onnx", "both"), default="both", help="files to write")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--size", help="HEIGHTxWIDTH in pixels of all images")
    size.add_argument("--dynamic", action="store_true", help="any size and number of images")
    checked = parser.add_mutually_exclusive_group()
    checked.add_argument("--images", type=Path, nargs="+", help="images to check with")
    checked.add_argument("--index", type=Path, help="index whose first images to check with")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'predict' is read")
    return parser


if __name__ == "__main__":
    main()
