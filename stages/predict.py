"""Predict the images of an index with trained weights.

    python -m stages.predict --params params.yaml --index runs/annotate/val.index
        --model runs/train/model.safetensors --out runs/predict

Writes to the output folder: `panoptic/` and `panoptic.json` (COCO panoptic results), `instances.json` (COCO detection
results with masks), `timings.json`, and `images/` with image, ground truth and prediction side by side.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from model.comparators.scoring import open_model
from model.device import pick_device
from model.inference.predict import ImagePrediction, predict_images
from model.inference.settings import InferenceSettings
from panoptic.data.reader import PanopticReader, print_reading_notes
from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultsWriter
from panoptic.index import PanopticIndex
from panoptic.instances.detection_json import encode_mask
from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.runtime.cli import run_command
from panoptic.visualization import Segmentation, side_by_side, write_png
from stages.settings import load_section


def predict(settings: InferenceSettings, index_path: Path, model: Path, out: Path) -> None:
    """Predict every image and write the results, all or nothing."""
    index = PanopticIndex.load(index_path)
    runtime = open_model(model, index, str(index_path), settings)
    print_reading_notes(index)
    instances: list[dict[str, object]] = []
    to_draw: list[ImagePrediction] = []
    chosen = {record.image_id for record in index.records[: settings.images]}
    started = time.monotonic()
    with write_together() as results:
        writer = ResultsWriter(results.folder(out / "panoptic"), index.categories)
        drawn = results.folder(out / "images")
        for prediction in predict_images(runtime, index, progress=True):
            record = prediction.record
            writer.add(record.image_id, record.mask_name, prediction.ids, prediction.segments)
            instances += instance_results(prediction, index.categories)
            if record.image_id in chosen:
                to_draw.append(prediction)
        seconds = time.monotonic() - started
        _draw(to_draw, index, drawn)
        timings = {"images": len(index.records), "seconds": round(seconds, 2), "device": str(pick_device())}
        results.write(out / "panoptic.json", writer.to_json())
        results.write(out / "instances.json", json.dumps(instances).encode())
        results.write(out / "timings.json", encode_json(timings))
    print(f"{len(index.records)} images predicted in {seconds:.1f} s; results in {out}")
    print(f"{len(to_draw)} of {len(index.records)} images drawn (predict.images); {out / 'images'}")


def instance_results(prediction: ImagePrediction, categories: CategoryTable) -> list[dict[str, object]]:
    """Return the instances of an image as COCO detection results with masks as RLE, without empty masks."""
    instances = prediction.instances
    results: list[dict[str, object]] = []
    for mask, (left, top, right, bottom), label, score in zip(
        instances.each_mask(),
        instances.boxes_xyxy.tolist(),
        instances.labels.tolist(),
        instances.scores.tolist(),
        strict=True,
    ):
        if not mask.any():
            continue
        results.append(
            {
                "image_id": prediction.record.image_id,
                "category_id": categories.category_of(label).id,
                "segmentation": encode_mask(mask),
                "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
                "score": round(score, 5),
            }
        )
    return results


def _draw(predictions: Sequence[ImagePrediction], index: PanopticIndex, folder: Path) -> None:
    reader = PanopticReader(index)
    for prediction in predictions:
        sample = reader.sample(prediction.record)
        # Unlabeled images have no ground truth to show.
        ground_truth = Segmentation(sample.ids, sample.record.segments) if sample.record.segments else None
        predicted = Segmentation(prediction.ids, prediction.segments)
        image = side_by_side(sample.image, ground_truth, predicted, index.categories)
        path = (folder / prediction.record.mask_name).with_suffix(".png")
        write_png(path, image)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict", description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'predict' is read")
    parser.add_argument(
        "--index", type=Path, required=True, help="index that stages.annotate, or panoptic.tools.unlabeled, wrote"
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        help="weights that stages.train, or model.weights.official, wrote, or a folder in transformers' layout",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)

    def stage() -> None:
        settings = load_section(arguments.params, "predict", InferenceSettings)
        predict(settings, arguments.index, arguments.model, arguments.out)

    run_command(stage)


if __name__ == "__main__":
    main()
