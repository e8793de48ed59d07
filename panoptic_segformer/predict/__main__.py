"""Predict the panoptic maps of photos and videos."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command
from panoptic_segformer.model_options import add_model_options, load_model, path_or_name
from panoptic_segformer.predict.options import OVERLAYS, Outputs, PredictOptions, Tiles

_DETAILS = """
Each input is an image, a folder with images in any depth, a zip file, a pattern such as 'photos/*.jpg', an http(s)
address, a video, or - for an image on standard input. Writes to --out: overlays/ to look at, and panoptic/ with
panoptic.json in COCO's panoptic format. Results that are there already are never overwritten unasked: the same command
resumes a run that was interrupted, or adds new images.
"""
_EXAMPLES = """
panoptic predict photo.jpg --model runs/train/model.safetensors
panoptic predict photos/ more.zip https://example.org/cat.jpg --out results
panoptic predict photos/ --labelme    # to correct the results, and train on them (docs/predict.md)
panoptic predict aerial.tif --tile 1333 --overlap 200
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("predict", __doc__, _EXAMPLES, _DETAILS)
    parser.add_argument(
        "inputs",
        nargs="+",
        type=path_or_name,
        metavar="INPUT",
        help="image, folder, zip file, pattern, address, video, -",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), help="folder to write to (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace all results that are in --out")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    results = parser.add_argument_group("results")
    results.add_argument(
        "--overlay", choices=OVERLAYS, default="jpg", help="type of the overlays (default: %(default)s)"
    )
    results.add_argument("--no-overlay", action="store_true", help="write no overlays")
    results.add_argument("--labelme", action="store_true", help="write LabelMe files too, beside links to the images")
    results.add_argument(
        "--coco-instances", action="store_true", help="write instances.json too: the segments as masks with scores"
    )
    how = parser.add_argument_group("how to predict", "By default as the weights say.")
    add_model_options(how)
    how.add_argument(
        "--method",
        help="how masks are merged: mask, mask_pixel, pixel, pixel_class, detr, or own (docs/comparators.md)",
    )
    how.add_argument("--score-threshold", type=float, metavar="SCORE", help="lowest score of a segment")
    how.add_argument("--batch-size", type=int, metavar="N", help="images of equal size that share a forward pass")
    how.add_argument("--tile", type=int, metavar="PIXELS", help="cut images into square tiles of this side")
    how.add_argument("--overlap", type=int, metavar="PIXELS", help="overlap of tiles (default: a quarter of --tile)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = _parser().parse_args(argv)

    def command() -> None:
        options = _options(arguments)
        from panoptic_segformer.predict.inputs import find_inputs
        from panoptic_segformer.predict.run import predict_inputs, say_failures, say_notes

        inputs = find_inputs(arguments.inputs, options.outputs.folder)
        say_notes(inputs)
        model = load_model(arguments, "method", "score_threshold", "batch_size")
        summary = predict_inputs(model, inputs, options)
        print(summary.describe(options.outputs.folder))
        if summary.failures:
            say_failures(summary.failures)
            raise SystemExit(1)

    run_command(command)


def _options(arguments: argparse.Namespace) -> PredictOptions:
    """Raises `ValueError` for options that contradict each other."""
    tile, overlap = arguments.tile, arguments.overlap
    if tile is None and overlap is not None:
        raise ValueError(f"--overlap {overlap} without --tile; give the side of the tiles, too")
    tiles = None if tile is None else Tiles(tile, tile // 4 if overlap is None else overlap)
    overlay = "" if arguments.no_overlay else arguments.overlay
    outputs = Outputs(arguments.out, overlay, arguments.labelme, arguments.coco_instances)
    return PredictOptions(outputs, tiles, arguments.overwrite, arguments.quiet)


if __name__ == "__main__":
    main()
