"""Choose the score threshold of merging for weights, by PQ on training images."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from panoptic.runtime.cli import command_parser, run_command

_DETAILS = """
Predicts images with ground truth once, merges them with one threshold after another, and prints PQ by threshold with
95 % intervals over the images. Choose on training images, never on those that the score is reported for. Put the result
into params.yaml: predict.merging.score_threshold.
"""
_EXAMPLES = """
panoptic calibrate
panoptic calibrate --model runs/train/model.safetensors --index runs/annotate/train.index --images 1000
"""


def calibrate(arguments: Namespace) -> None:
    """Print the table, and the threshold that a command line asks for. Raises `ValueError` for images without it."""
    from model.device import pick_device
    from model.explanation.thresholds import best_threshold, score_thresholds
    from model.inference.settings import InferenceSettings
    from model.weights.checkpoint import load_checkpoint
    from panoptic.index import PanopticIndex
    from panoptic.index.records import take
    from panoptic.markdown import markdown_table
    from panoptic.robustness.summary import CLASS_GROUPS

    index = PanopticIndex.load(arguments.index)
    labeled = [position for position, record in enumerate(index.records) if record.segments]
    chosen = replace(index, records=take(index.records, labeled[: arguments.images or None]))
    checkpoint = load_checkpoint(arguments.model)
    checkpoint.categories.require_same(
        index.categories, str(arguments.index), f"the model {arguments.model}", "give images of the same categories"
    )
    settings = checkpoint.inference or InferenceSettings()
    network = checkpoint.network.to(pick_device())
    scores = score_thresholds(network, settings, chosen, progress=True)
    rows = []
    for one in scores:
        pq = [f"{100 * one.pq[group]:.1f}" if group in one.pq else "-" for group in CLASS_GROUPS]
        rows.append([f"{one.threshold:g}", *pq, f"{100 * one.loss:.1f}"])
    print(markdown_table(["score threshold", "PQ", "things", "stuff", "PQ below the best"], rows))
    print(f"\n{len(chosen.records)} images of {arguments.index}; the weights have {settings.merging.score_threshold:g}")
    print(f"predict.merging.score_threshold: {best_threshold(scores):g}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = command_parser("calibrate", __doc__, _EXAMPLES, _DETAILS)
    parser.add_argument(
        "--model", type=Path, default=Path("runs/train/model.safetensors"), help="weights (default: %(default)s)"
    )
    parser.add_argument(
        "--index", type=Path, default=Path("runs/annotate/train.index"), help="of the images (default: %(default)s)"
    )
    parser.add_argument("--images", type=int, default=500, help="the first ones; 0: all (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.images < 0:
        parser.error(f"--images is {arguments.images}; give at least 0, all")
    run_command(lambda: calibrate(arguments))


if __name__ == "__main__":
    main()
