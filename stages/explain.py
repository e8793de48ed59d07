"""Explain a network: where its queries attend and sample, and what finding things does to their stuff.

    python -m stages.explain --params params.yaml --index runs/annotate/val.index
        --model runs/train/model.safetensors --out runs/explain

Writes to the output folder: `explain.json`, the numbers with their 95 % intervals, and `images/`, the drawings of
single images. The report shows both. `panoptic explain` does the same for photographs without ground truth.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.comparators.folder import is_comparator
from model.device import pick_device
from model.explanation.explaining import Explainer, describe
from model.explanation.observing import COMPARATOR, observed_images
from model.explanation.settings import ExplainSettings
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import load_checkpoint
from panoptic.index import PanopticIndex
from panoptic.index.records import all_image_ids
from panoptic.io.errors import shown_ids
from panoptic.io.files import replace_folder
from panoptic.report.explained import FILE, IMAGES
from panoptic.runtime.cli import run_command
from stages.settings import load_section

_HINT = "train on a dataset with these categories, or explain images of the dataset it was trained on"


def explain(settings: ExplainSettings, inference: InferenceSettings, index_path: Path, model: Path, out: Path) -> None:
    """Explain the network on the images of an index and write the folder, all or nothing."""
    split = PanopticIndex.load(index_path)
    index = replace(split, records=split.records[: settings.images or None])
    numbers = _drawn(settings, index, str(index_path))
    if is_comparator(model):
        raise ValueError(f"{model}: {COMPARATOR}")
    checkpoint = load_checkpoint(model)
    checkpoint.categories.require_same(index.categories, str(index_path), f"the model {model}", _HINT)
    network = checkpoint.network.to(pick_device())
    with replace_folder(out) as folder:
        explainer = Explainer(network.config, settings, folder / IMAGES)
        for image in observed_images(network, inference, index, progress=True):
            explainer.add(image, numbers.get(image.name))
        explanation = explainer.result()
        (folder / FILE).write_bytes(explanation.encode())
    print("\n".join(describe(explanation)))
    print(f"explained: {out}")


def _drawn(settings: ExplainSettings, index: PanopticIndex, where: str) -> dict[str, int]:
    """Return the file names of the images to draw, and their numbers. Raises `ValueError` for an unknown id."""
    ids = [str(image_id) for image_id in all_image_ids(index.records)]
    chosen = settings.image_ids or ids[: settings.drawn]
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
