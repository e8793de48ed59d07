"""Explain a network: where its queries attend and sample, and what finding things does to their stuff.

    python -m stages.explain --params params.yaml --index runs/annotate/val.index
        --model runs/train/model.safetensors --out runs/explain

Writes to the output folder: `explain.json`, the numbers with their 95 % intervals, `merging.json`, mask-wise merging
against argmaxes per pixel, `early_exit.json`, PQ against time by the number of mask decoder layers, and `images/`, the
drawings of single images. The report shows all of it. `panoptic explain` draws photographs without ground truth.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from model.device import pick_device
from model.explanation.early_exit import describe_early_exit, measure_early_exit
from model.explanation.explaining import Explainer, describe
from model.explanation.merging import MergingCases, describe_merging
from model.explanation.observing import FOLDER, observed_images
from model.explanation.parts import EARLY_EXIT, left_out
from model.explanation.settings import ExplainSettings
from model.inference.settings import InferenceSettings
from model.network.segmenter import Segmenter
from model.weights.checkpoint import load_checkpoint
from panoptic.index import PanopticIndex
from panoptic.index.records import all_image_ids, take
from panoptic.io.errors import shown_ids
from panoptic.io.files import replace_folder, write_atomically
from panoptic.report.explained import FILE, IMAGES
from panoptic.report.variants import EARLY_EXIT_FILE, MERGING_FILE
from panoptic.runtime.cli import run_command
from stages.settings import load_section

_HINT = "train on a dataset with these categories, or explain images of the dataset it was trained on"


def explain(settings: ExplainSettings, inference: InferenceSettings, index_path: Path, model: Path, out: Path) -> None:
    """Explain the network on the images of an index and write the folder, all or nothing."""
    split = PanopticIndex.load(index_path)
    index = replace(split, records=split.records[: settings.images or None])
    numbers = _drawn(settings, index, str(index_path))
    if model.is_dir():
        raise ValueError(f"{model}: {FOLDER}")
    checkpoint = load_checkpoint(model)
    checkpoint.categories.require_same(index.categories, str(index_path), f"the model {model}", _HINT)
    network = checkpoint.network.to(pick_device())
    with replace_folder(out) as folder:
        explainer = Explainer(network.config, settings, folder / IMAGES)
        merging = MergingCases(index.categories, settings.drawn)
        for image in observed_images(network, inference, index, progress=True):
            explainer.add(image, numbers.get(image.name))
            merging.add(image)
        explanation = explainer.result()
        write_atomically(folder / FILE, explanation.encode())
        lines = [*describe(explanation), *_compare(network, inference, index, merging, folder, settings.bootstrap)]
    print("\n".join(lines))
    print(f"explained: {out}")


def _compare(
    network: Segmenter,
    inference: InferenceSettings,
    index: PanopticIndex,
    merging: MergingCases,
    folder: Path,
    resamples: int,
) -> Iterator[str]:
    """Compare what the network finds by other ways of inference, write it, and yield lines for people."""
    merged = merging.result(folder / IMAGES, resamples)
    if merged is None:
        yield "left out: ways of inference: no image has a ground truth segment that counts"
        return
    write_atomically(folder / MERGING_FILE, merged.encode())
    yield from describe_merging(merged)
    if EARLY_EXIT not in left_out(network.config):
        labeled = [position for position, record in enumerate(index.records) if record.segments]
        chosen = replace(index, records=take(index.records, labeled))
        early_exit = measure_early_exit(network, inference, chosen, resamples)
        write_atomically(folder / EARLY_EXIT_FILE, early_exit.encode())
        yield from describe_early_exit(early_exit)


def _drawn(settings: ExplainSettings, index: PanopticIndex, where: str) -> dict[str, int]:
    """Return the file names of the images to draw, and their numbers. Raises `ValueError` for an unknown id."""
    ids = [str(image_id) for image_id in all_image_ids(index.records)]
    chosen = list(dict.fromkeys(settings.image_ids)) or ids[: settings.drawn]
    if unknown := [image_id for image_id in chosen if image_id not in ids]:
        raise ValueError(
            f"explain.image_ids: {where} has no image {shown_ids(unknown)} among the {len(ids)} that are explained; "
            f"there are {shown_ids(ids, 3)}"
        )
    return {index.records[ids.index(image_id)].file_name: number for number, image_id in enumerate(chosen, start=1)}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.explain", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings; 'explain' and 'predict' are read"
    )
    parser.add_argument("--index", type=Path, required=True, help="index of the ground truth, from stages.annotate")
    parser.add_argument("--model", type=Path, required=True, help="weights that stages.train wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "explain", ExplainSettings)
        inference = load_section(arguments.params, "predict", InferenceSettings)
        explain(settings, inference, arguments.index, arguments.model, arguments.out)

    run_command(stage)


if __name__ == "__main__":
    main()
