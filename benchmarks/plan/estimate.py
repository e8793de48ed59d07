"""The amount of work and of disk space: counts that follow from the settings and the dataset alone."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan.dataset import PlannedDataset, Recipe
from benchmarks.plan.report import PlanRow, counted
from model.complexity.counts import count_parameters, meta_network
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.optimizer import is_inner_matrix
from model.training.sampling import steps_per_epoch
from panoptic.datasets.description import Archive
from panoptic.datasets.download.obtaining import UNPACKED_RATIO
from panoptic.datasets.download.partial_file import partial_paths
from panoptic.datasets.known import describe_dataset
from panoptic.datasets.shards import SUPERCATEGORY
from panoptic.io.errors import DatasetError

WORK, DISK = "work", "disk"
MAP_BYTES = 0.023
"""Bytes per pixel of a panoptic PNG: COCO's have 7 kB per image of 640 x 480."""
LOSSLESS_BYTES = 1.5
"""Bytes per pixel of a corrupted image as PNG: noise hardly compresses."""
ANNOTATED_BYTES, ANNOTATED_PIXEL_BYTES, SEMANTIC_BYTES = 3000, 0.03, 0.018
"""Bytes that `annotate` writes per image, per pixel, and per pixel of semantic maps, as measured on two images of COCO
and on the embedded dataset."""
INSTANCE_BYTES = 400
"""Bytes per instance in the results, most of them the RLE."""
COPIES = 2
"""DVC's cache holds a copy of all outputs; one is enough where the file system can share blocks."""
CACHED = "twice: DVC's cache has a copy"


@dataclass(frozen=True)
class PlannedWork:
    """Counts of a recipe on a dataset."""

    recipe: Recipe
    dataset: PlannedDataset

    @property
    def steps(self) -> int:
        """Optimizer steps of the training."""
        return self.recipe.train.epochs * steps_per_epoch(self.dataset.train.count, self.recipe.train.batch_size)

    @property
    def validations(self) -> int:
        """Validations: one after every interval, and one at the end."""
        return -(-self.steps // self.recipe.train.validate_every)

    @property
    def corrupted(self) -> int:
        """Images of COCO-C in all variants."""
        corrupt = self.recipe.corrupt
        chosen = _listed_ids(Path(corrupt.image_ids)) if corrupt.image_ids else self.dataset.val.count
        return min(chosen, corrupt.images or chosen) * len(corrupt.variants)

    def rows(self) -> Iterator[PlanRow]:
        """Yield the rows about work."""
        train, dataset = self.recipe.train, self.dataset
        for name, images in (("training images", dataset.train), ("validation images", dataset.val)):
            yield PlanRow(WORK, name, images.count, "count", images.source)
        how = f"{dataset.num_things} things, {dataset.num_stuff} stuff{dataset.note}"
        yield PlanRow(WORK, "classes", dataset.num_things + dataset.num_stuff, "count", how)
        per_epoch = steps_per_epoch(dataset.train.count, train.batch_size)
        passes = counted(self.recipe.micro_batches, "forward pass", "es")
        passes = f"{passes} of {counted(train.images_per_forward, 'image')}"
        processes = counted(self.recipe.processes, "process", "es")
        how = f"{counted(train.epochs, 'epoch')} of {per_epoch}; in each {processes}"
        yield PlanRow(WORK, "steps", self.steps, "count", f"{how}, each {passes}")
        how = f"every {train.validate_every} steps, and at the end"
        yield PlanRow(WORK, "validations", self.validations, "count", how)
        variants = len(self.recipe.corrupt.variants)
        how = f"{self.corrupted // variants} images in {counted(variants, 'variant')}"
        yield PlanRow(WORK, "corrupted images", self.corrupted, "count", how)


def _listed_ids(path: Path) -> int:
    """Count the image ids in a list, one per line; `#` starts a comment."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; correct corrupt.image_ids")
    return sum(bool(line.partition("#")[0].strip()) for line in path.read_text(encoding="utf-8").splitlines())


def disk_rows(recipe: Recipe, dataset: PlannedDataset, corrupted: int) -> Iterator[PlanRow]:
    """Yield the rows about disk space; `corrupted` is the number of images in all variants."""
    rows = [*_archives(recipe), *_runs(recipe, dataset, corrupted)]
    yield from rows
    root = _existing(Path(recipe.dataset.root))
    yield PlanRow(DISK, "total", sum(row.value for row in rows), "bytes", "still to be written")
    yield PlanRow(DISK, "free", shutil.disk_usage(root).free, "bytes", f"on the disk of {root.resolve()}")


def _archives(recipe: Recipe) -> Iterator[PlanRow]:
    public = describe_dataset(recipe.dataset.name)
    if not public.archives:
        return
    splits = [recipe.dataset.train, recipe.dataset.val]
    if recipe.download.test and public.test:
        splits.append(public.test)
    needed, root = public.needed(splits), Path(recipe.dataset.root)
    total = sum(archive.bytes for archive in needed)
    missing = sum(_missing_bytes(archive, root) for archive in needed)
    how = f"{len(needed)} archives, {total / 1e9:.3g} GB by the published sizes, minus what exists"
    yield PlanRow(DISK, "archives to download", missing, "bytes", how)
    due = [
        archive.bytes
        for archive in needed
        if not all((root / output).exists() for output in archive.outputs(splits)) and archive.outputs(splits)
    ]
    how = f"{UNPACKED_RATIO} times the archives that are not read in place, an estimate"
    yield PlanRow(DISK, "unpacked", UNPACKED_RATIO * sum(due), "bytes", how)


def _missing_bytes(archive: Archive, root: Path) -> int:
    target = root / archive.path
    if target.exists():
        return 0
    part = partial_paths(target)[0]
    return max(0, archive.bytes - (part.stat().st_size if part.exists() else 0))


def _runs(recipe: Recipe, dataset: PlannedDataset, corrupted: int) -> Iterator[PlanRow]:
    val = dataset.val
    yield _annotated(recipe, dataset)
    network = meta_network(recipe.model, dataset.num_things, dataset.num_stuff)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    count = sum(count_parameters(network).all.values())
    how = f"{count / 1e6:.1f} M parameters of 4 bytes; {CACHED}"
    yield PlanRow(DISK, "runs/train", COPIES * weights, "bytes", how)
    state = weights * (2 if recipe.train.ema_decay else 1) + _moments(recipe, network)
    how = "weights, average, moments; twice during replacement, deleted at the end"
    yield PlanRow(DISK, "runs/state", 2 * state, "bytes", how)
    maps, instances = MAP_BYTES * val.pixels * val.count, INSTANCE_BYTES * recipe.model.selected_queries * val.count
    how = f"{val.count} PNGs and {recipe.model.selected_queries} instances per image; {CACHED}"
    yield PlanRow(DISK, "runs/predict", COPIES * (maps + instances), "bytes", how)
    if recipe.corrupt.archives:
        how = f"{corrupted} images as PNG; {CACHED}"
        yield PlanRow(DISK, "runs/corrupt", COPIES * LOSSLESS_BYTES * val.pixels * corrupted, "bytes", how)


def _annotated(recipe: Recipe, dataset: PlannedDataset) -> PlanRow:
    images = dataset.train.count + dataset.val.count
    pixels = sum(part.count * part.pixels for part in (dataset.train, dataset.val))
    total, what = ANNOTATED_BYTES * images + ANNOTATED_PIXEL_BYTES * pixels, ["indices", "instances"]
    if recipe.annotate.semantic:
        total, what = total + SEMANTIC_BYTES * pixels, [*what, "semantic maps"]
    if describe_dataset(recipe.dataset.name).draws_masks or recipe.annotate.categories == SUPERCATEGORY:
        total, what = total + MAP_BYTES * pixels, [*what, "panoptic PNGs"]
    return PlanRow(DISK, "runs/annotate", COPIES * total, "bytes", f"{', '.join(what)}; {CACHED}")


def _moments(recipe: Recipe, network: PanopticSegFormer) -> int:
    """Count the bytes of the optimizers: two numbers per trained parameter with AdamW, one with Muon."""
    numbers = 0
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            muon = recipe.train.optimizer == "muon" and is_inner_matrix(name, parameter)
            numbers += parameter.numel() * (1 if muon else 2)
    return 4 * numbers


def _existing(path: Path) -> Path:
    """Return the path, or its nearest parent folder that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())
