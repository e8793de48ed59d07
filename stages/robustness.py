"""Predict and score corrupted images (COCO-C), and the clean ones beside them: the paper's table 11.

    python -m stages.robustness --params params.yaml --index runs/annotate/val.index
        --model runs/train/model.safetensors --corrupted runs/corrupt --state runs/state --out runs/robustness

The images come from the archives of the corrupt stage or, if its manifest says that there are none, are made while the
network runs, without being written. Scores are those of stages.evaluate with its default settings.

Writes `metrics.json` (PQ clean, mean, relative, by corruption), `variants.json` (all measures), `table.md`,
`severity.csv`, `severity.png` and, to browse, `predictions/`: those of the first `predict.images` images under each
variant, as stages.predict writes them. A run that was stopped resumes with the variants that are not scored yet; scored
ones are kept in a folder of `--state` named after everything that determines them. With `--shard 2/4` it measures the
second quarter of the variants in that folder and writes no result; so several programs, also on several machines, can
divide the work, and a last one without `--shard` writes the result (`python -m pipelines.robustness`).
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.comparators.folder import is_comparator
from model.comparators.scoring import model_files, open_model
from model.inference.predict import ReadImages, predict_images
from model.inference.predictor import Runtime
from model.inference.settings import InferenceSettings
from panoptic.data.reader import PanopticReader, print_reading_notes
from panoptic.evaluation.image import ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import ScoreCounter, count_image
from panoptic.format.results import write_results
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.files import naming_disk_errors, replace_folder, write_atomically
from panoptic.io.json_fields import encode_json, read_json
from panoptic.robustness.corrupted_split import (
    CorruptedSplit,
    CorruptSettings,
    archive_name,
    corrupted_images,
    find_records,
    images_of,
    index_of_archive,
)
from panoptic.robustness.corruptions import Variant
from panoptic.robustness.figures import png_file, severity_figure
from panoptic.robustness.summary import (
    Measures,
    Robustness,
    measures,
    metrics_to_json,
    narrow_table,
    severity_csv,
    table,
    variants_to_json,
)
from panoptic.runtime.cli import run_command
from panoptic.runtime.fingerprint import imported_code
from panoptic.runtime.parallel import Shard, count_processes, map_ahead, worker_pool
from panoptic.runtime.resume import close_work, open_work, resume_identity
from stages.settings import load_section

# Images that a worker corrupts at a time, and tasks that may wait for each worker: they bound the memory.
_TASK, _TASKS_AHEAD = 4, 2


@dataclass(frozen=True)
class RobustnessPaths:
    """Inputs and outputs of the stage."""

    index: Path
    model: Path
    corrupted: Path
    state: Path
    out: Path


@dataclass(frozen=True)
class Measuring:
    """Everything that measuring a variant takes; `index` has the chosen images only."""

    runtime: Runtime
    index: PanopticIndex
    scoring: ScoringSettings
    advance: Callable[[int], object]

    def measure(self, kept: Path, read: ReadImages | None = None) -> Measures:
        """Predict the images of the index, or those that `read` returns instead, and score them.

        The predictions of the first ones are written to the folder `kept`, to be browsed.
        """
        ground_truth = PanopticReader(self.index)
        counter = ScoreCounter(self.index.categories, self.scoring)
        shown = {record.image_id for record in self.index.records[: self.runtime.settings.images]}
        with write_results(kept / "panoptic.json", kept / "panoptic", self.index.categories) as writer:
            for prediction in predict_images(self.runtime, self.index, read=read):
                record = prediction.record
                gt = SegmentedImage(ground_truth.id_map(record), record.segments)
                predicted = SegmentedImage(prediction.ids, prediction.segments)
                counter.add(count_image(evaluate_image(gt, predicted, self.scoring)))
                if record.image_id in shown:
                    writer.add(record.image_id, record.mask_name, prediction.ids, prediction.segments)
                self.advance(1)
        return measures(counter.result())


def robustness(
    inference: InferenceSettings, corruption: CorruptSettings, paths: RobustnessPaths, shard: Shard | None = None
) -> None:
    """Measure the variants not measured yet and write the results, all or nothing; with a shard, only measure."""
    full, manifest = PanopticIndex.load(paths.index), paths.corrupted / "manifest.json"
    split, scoring = CorruptedSplit.load(manifest), ScoringSettings()
    runtime = open_model(paths.model, full, str(paths.index), inference)
    index = replace(full, records=find_records(full, split.image_ids, str(manifest)))
    print_reading_notes(index)
    split.check(index, manifest)
    inputs = {**model_files(paths.model), "index": paths.index}
    # Without the variants: which are measured decides no measure.
    settings = {"predict": inference, "scoring": scoring, "corrupt": replace(split, variants=())}
    libraries = ["transformers"] if is_comparator(paths.model) else []
    identity = resume_identity(settings, inputs, code=imported_code("model/ops"), libraries=libraries)
    state = open_work(paths.state, "robustness", identity)
    found: dict[Variant, Measures] = {}
    variants = shard.choose(split.variants) if shard else split.variants
    measures_clean = shard is None or shard.is_last
    if shard:
        print(f"{shard}: {', '.join(['clean'] * measures_clean + [str(variant) for variant in variants])}", flush=True)
    total, workers = (measures_clean + len(variants)) * len(index.records), count_processes(corruption.workers)
    with (
        worker_pool(0 if split.archives else workers, "corrupt.workers") as pool,
        tqdm(total=total, desc="robustness", unit="image") as bar,
    ):
        measuring = Measuring(runtime, index, scoring, bar.update)
        clean = _remembered(state / "clean.json", measuring, measuring.measure) if measures_clean else {}
        for variant in variants:
            if split.archives:
                archive = index_of_archive(index, paths.corrupted / archive_name(variant))
                measure = replace(measuring, index=archive).measure
            else:
                measure = partial(measuring.measure, read=_corrupting(index, variant, pool, workers))
            found[variant] = _remembered(state / f"{variant}.json", measuring, measure)
    if shard:
        print(f"{shard}: {len(variants)} variants measured, kept in {state}")
        return
    result = Robustness(clean, found)
    _write(result, len(index.records), state, paths.out)
    close_work(state)
    print(narrow_table(result, len(index.records)), end="")
    scored, kept = len(index.records), min(inference.images, len(index.records))
    print(f"{scored} of {len(full.records)} images scored (corrupt.images), ", end="")
    print(f"predictions of {kept} kept to be browsed (predict.images); {paths.out}")


def _corrupting(index: PanopticIndex, variant: Variant, pool: Executor | None, workers: int) -> ReadImages:
    """Read and corrupt the images of `index`, ahead of the network if there is a pool."""
    corrupt = partial(corrupted_images, images_of(index), variant)

    def read(records: Sequence[ImageRecord]) -> Iterator[NDArray[np.uint8]]:
        plain = [replace(record, segments=()) for record in records]  # workers do not need segments
        tasks = [plain[start : start + _TASK] for start in range(0, len(plain), _TASK)]
        return chain.from_iterable(map_ahead(pool, corrupt, tasks, _TASKS_AHEAD * workers))

    return read


def _remembered(path: Path, measuring: Measuring, measure: Callable[[Path], Measures]) -> Measures:
    """The measures that a stopped run has saved, or new ones, saved for the next run.

    The predictions to be browsed are beside the file, and complete before it exists. An error names the variant.
    """
    if path.exists():
        measuring.advance(len(measuring.index.records))
        return cast(Measures, read_json(path).child("measures").values)
    try:
        found = measure(path.with_suffix(""))
    except Exception:
        print(f"stopped while measuring {path.stem}; finished variants are kept in {path.parent}", file=sys.stderr)
        raise
    write_atomically(path, json.dumps({"measures": found}).encode())
    return found


def _write(result: Robustness, images: int, state: Path, out: Path) -> None:
    with replace_folder(out) as folder, naming_disk_errors(out):
        for name, content in (("metrics", metrics_to_json(result)), ("variants", variants_to_json(result))):
            (folder / f"{name}.json").write_bytes(encode_json(content))
        (folder / "table.md").write_text(table(result, images), encoding="utf-8")
        (folder / "severity.csv").write_text(severity_csv(result), encoding="utf-8")
        (folder / "severity.png").write_bytes(png_file(severity_figure(result)))
        for variant in result.variants:
            shutil.copytree(state / str(variant), folder / "predictions" / str(variant))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.robustness", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="settings; sections 'predict' and 'corrupt' are read"
    )
    parser.add_argument("--index", type=Path, required=True, help="index of the clean images")
    parser.add_argument(
        "--model", type=Path, required=True, help="weights that stages.train wrote, or a folder in transformers' layout"
    )
    parser.add_argument("--corrupted", type=Path, required=True, help="folder that stages.corrupt wrote")
    parser.add_argument("--state", type=Path, required=True, help="folder for the finished part of a stopped run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    help_shard = "measure only this part of the variants, such as 2/4, and write no result"
    parser.add_argument("--shard", metavar="NUMBER/OF", help=help_shard)
    arguments = parser.parse_args(argv)
    paths = RobustnessPaths(arguments.index, arguments.model, arguments.corrupted, arguments.state, arguments.out)

    def stage() -> None:
        inference = load_section(arguments.params, "predict", InferenceSettings)
        corruption = load_section(arguments.params, "corrupt", CorruptSettings)
        shard = Shard.parse(arguments.shard) if arguments.shard else None
        robustness(inference, corruption, paths, shard)

    run_command(stage)


if __name__ == "__main__":
    main()
