"""Export a trained network as ONNX and for `torch.export`, and check the files against it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command

_EXAMPLES = """
panoptic export --model runs/train/model.safetensors --out runs/export --dynamic
panoptic export --model runs/train/model.safetensors --out runs/export --size 800x1216 --images A.jpg B.jpg
panoptic export --model runs/train/model.safetensors --out runs/export --dynamic --index runs/annotate/val.index --int8
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
    parser.add_argument("--params", type=Path, help="file whose section 'predict' replaces the settings in the weights")
    parser.add_argument(
        "--outputs",
        choices=("panoptic", "raw"),
        default="panoptic",
        help="what the ONNX file ends in: the panoptic map (default), or the network's outputs before merging",
    )
    _add_int8_options(parser)
    return parser


def _add_int8_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("int8 weights")
    group.add_argument("--int8", action="store_true", help="also write model.int8.onnx; needs --index, to measure PQ")
    group.add_argument(
        "--max-pq-loss", type=float, default=0.5, metavar="POINTS", help="most PQ to lose (default: %(default)s)"
    )
    group.add_argument(
        "--pq-images", type=int, default=0, metavar="N", help="measure PQ on the first N images of the index (0: all)"
    )


if __name__ == "__main__":
    main()
