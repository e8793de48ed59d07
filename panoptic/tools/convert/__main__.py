"""Convert your own annotations to COCO's panoptic layout, which everything here reads (guide: docs/own-data.md).

    panoptic convert FOLDER --classes classes.yaml --out datasets/own --val-fraction 0.2
    panoptic convert instances.json --images images/ --out datasets/own --split train
    panoptic convert instances.json --images images/ --semantic maps/ --classes classes.yaml ...

A folder is expected to hold LabelMe files, a JSON file to be in COCO's instance format (polygons, RLE, crowds; also
CVAT's export 'COCO 1.0'). `panoptic.tools.convert.classes` describes the class table, `panoptic.tools.convert.drawing`
the treatment of overlaps. The source is never changed: images are hard-linked, or copied to another file system. If
there are any issues, all of them are listed and nothing is written.

CVAT's other formats are not supported, because no library that reads them can be installed beside the packages of this
project (datumaro requires older versions of pillow and pandas): export 'COCO 1.0'.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command
from panoptic.tools.convert.choices import ORDERS, ORIENTATIONS, REFUSE, SMALLER

_EXAMPLES = """
panoptic convert photos/ --classes classes.yaml --out datasets/own --val-fraction 0.2
panoptic convert instances.json --images photos/ --out datasets/own --split train
panoptic convert instances.json --images photos/ --semantic maps/ --classes classes.yaml --out datasets/own
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(argv)

    def command() -> None:
        from panoptic.tools.convert.command import convert

        convert(options)

    run_command(command)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("convert", __doc__, _EXAMPLES)
    parser.add_argument("source", type=Path, help="folder of LabelMe files, or JSON in COCO's instance format")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset to write")
    parser.add_argument("--images", type=Path, help="folder or zip file of the images (default: LabelMe's folder)")
    parser.add_argument("--semantic", type=Path, help="folder or zip file of semantic PNGs, named like the images")
    parser.add_argument("--classes", type=Path, help="class table (YAML or JSON)")
    parser.add_argument("--split", default="train", help="name of the split (default: %(default)s)")
    parser.add_argument("--val-fraction", type=float, help="split randomly into train and val, as 0.2")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random split (default: %(default)s)")
    parser.add_argument(
        "--on-top", choices=ORDERS, default=SMALLER, help="the instance that covers others (default: %(default)s)"
    )
    parser.add_argument(
        "--no-crowds", action="store_true", help="convert crowds to instances; CVAT marks brush masks as crowds"
    )
    parser.add_argument(
        "--exif-orientation",
        choices=ORIENTATIONS,
        default=REFUSE,
        help="for photos that have one (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
