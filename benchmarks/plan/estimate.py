"""How much there is to do: counts that follow from the settings and the dataset alone."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan.dataset import PlannedDataset, Recipe
from benchmarks.plan.report import Row, counted
from model.complexity.counts import count_parameters, meta_network
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.optimizer import is_inner_matrix
from model.training.sampling import steps_per_epoch
from panoptic.datasets.description import Archive
from panoptic.datasets.download.obtaining import UNPACKED_RATIO
from panoptic.datasets.download.partial_file import partial_paths
from panoptic.datasets.known import describe_dataset
from panoptic.io.errors import DatasetError

WORK = "work"


@dataclass(frozen=True)
class Work:
    """The counts of a recipe on a dataset."""

    recipe: Recipe
    dataset: PlannedDataset

    @property
    def steps(self) -> int:
        """Optimizer steps of the training."""
        return self.recipe.train.epochs * steps_per_epoch(self.dataset.train.count, self.recipe.train.batch_size)

    @property
    def validations(self) -> int:
        """One after every interval, and one at the end."""
        return -(-self.steps // self.recipe.train.validate_every)

    @property
    def corrupted(self) -> int:
        """Images of COCO-C, all variants together."""
        corrupt = self.recipe.corrupt
        chosen = _listed_ids(Path(corrupt.image_ids)) if corrupt.image_ids else self.dataset.val.count
        return min(chosen, corrupt.images or chosen) * len(corrupt.variants)

    def rows(self) -> Iterator[Row]:
        """The lines of the plan."""
        train, dataset = self.recipe.train, self.dataset
        for name, images in (("images to learn from", dataset.train), ("images to validate on", dataset.val)):
            yield Row(WORK, name, images.count, "count", images.source)
        how = f"{dataset.num_things} things, {dataset.num_stuff} stuff"
        yield Row(WORK, "classes", dataset.num_things + dataset.num_stuff, "count", how)
        per_epoch = steps_per_epoch(dataset.train.count, train.batch_size)
        share = f"{counted(self.recipe.forwards, 'forward pass', 'es')} of {counted(train.images_per_forward, 'image')}"
        processes = counted(self.recipe.processes, "process", "es")
        how = f"{counted(train.epochs, 'epoch')} of {per_epoch}; in each {processes}"
        yield Row(WORK, "steps", self.steps, "count", f"{how}, each {share}")
        how = f"every {train.validate_every} steps, and at the end"
        yield Row(WORK, "validations", self.validations, "count", how)
        variants = len(self.recipe.corrupt.variants)
        how = f"{self.corrupted // variants} images in {counted(variants, 'variant')}"
        yield Row(WORK, "corrupted images", self.corrupted, "count", how)


def _listed_ids(path: Path) -> int:
    """Image ids in a list, one a line; `#` begins a comment."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; correct corrupt.image_ids")
    return sum(bool(line.partition("#")[0].strip()) for line in path.read_text().splitlines())


DISK = "disk"
MAP_BYTES = 0.023
"""Of a panoptic PNG, for each pixel: the published PNGs of COCO have 7 kB an image of 640 x 480."""
LOSSLESS_BYTES = 1.5
"""Of a corrupted image as PNG, for each pixel: noise hardly shrinks."""
ANNOTATED_BYTES, ANNOTATED_PIXEL_BYTES, SEMANTIC_BYTES = 3000, 0.03, 0.018
"""What `annotate` writes: of an image, of each of its pixels, and of the pixels of semantic maps; as two images of
COCO and the embedded dataset have it."""
INSTANCE_BYTES = 400
"""Of an instance in the results, most of it the mask's code."""
COPIES = 2
"""DVC keeps what a stage has written in its cache too; where the file system can share blocks, one is enough."""
CACHED = "twice: DVC's cache has a copy"


def disk_rows(recipe: Recipe, dataset: PlannedDataset, corrupted: int) -> Iterator[Row]:
    """The lines of the plan; `corrupted` images are those of all variants together."""
    rows = [*_archives(recipe), *_runs(recipe, dataset, corrupted)]
    yield from rows
    root = _existing(Path(recipe.dataset.root))
    yield Row(DISK, "in all", sum(row.value for row in rows), "bytes", "what is still to be written")
    yield Row(DISK, "free", shutil.disk_usage(root).free, "bytes", f"on the disk of {root.resolve()}")


def _archives(recipe: Recipe) -> Iterator[Row]:
    public = describe_dataset(recipe.dataset.name)
    if not public.archives:
        return
    splits = [recipe.dataset.train, recipe.dataset.val]
    if recipe.download.test and public.test:
        splits.append(public.test)
    needed, root = public.needed(splits), Path(recipe.dataset.root)
    total = sum(archive.bytes for archive in needed)
    missing = sum(_missing_bytes(archive, root) for archive in needed)
    how = f"{len(needed)} archives, {total / 1e9:.3g} GB by the published sizes, less what is there"
    yield Row(DISK, "archives to fetch", missing, "bytes", how)
    due = [
        archive.bytes
        for archive in needed
        if not all((root / output).exists() for output in archive.outputs(splits)) and archive.outputs(splits)
    ]
    how = f"{UNPACKED_RATIO} times the archives that are not read in place, an estimate"
    yield Row(DISK, "unpacked", UNPACKED_RATIO * sum(due), "bytes", how)


def _missing_bytes(archive: Archive, root: Path) -> int:
    target = root / archive.path
    if target.exists():
        return 0
    part = partial_paths(target)[0]
    return max(0, archive.bytes - (part.stat().st_size if part.exists() else 0))


def _runs(recipe: Recipe, dataset: PlannedDataset, corrupted: int) -> Iterator[Row]:
    val = dataset.val
    yield _annotated(recipe, dataset)
    network = meta_network(recipe.model, dataset.num_things, dataset.num_stuff)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    count = sum(count_parameters(network).all.values())
    how = f"{count / 1e6:.1f} M parameters of 4 bytes; {CACHED}"
    yield Row(DISK, "runs/train", COPIES * weights, "bytes", how)
    state = weights * (2 if recipe.train.ema_decay else 1) + _moments(recipe, network)
    how = "weights, average, moments; twice while replaced, gone at the end"
    yield Row(DISK, "runs/state", 2 * state, "bytes", how)
    maps, instances = MAP_BYTES * val.pixels * val.count, INSTANCE_BYTES * recipe.model.selected_queries * val.count
    how = f"{val.count} PNGs and {recipe.model.selected_queries} instances an image; {CACHED}"
    yield Row(DISK, "runs/predict", COPIES * (maps + instances), "bytes", how)
    if recipe.corrupt.archives:
        how = f"{corrupted} images as PNG; {CACHED}"
        yield Row(DISK, "runs/corrupt", COPIES * LOSSLESS_BYTES * val.pixels * corrupted, "bytes", how)


def _annotated(recipe: Recipe, dataset: PlannedDataset) -> Row:
    images = dataset.train.count + dataset.val.count
    pixels = sum(part.count * part.pixels for part in (dataset.train, dataset.val))
    total, what = ANNOTATED_BYTES * images + ANNOTATED_PIXEL_BYTES * pixels, ["indices", "instances"]
    if recipe.annotate.semantic:
        total, what = total + SEMANTIC_BYTES * pixels, [*what, "semantic maps"]
    if describe_dataset(recipe.dataset.name).draws_masks:
        total, what = total + MAP_BYTES * pixels, [*what, "panoptic PNGs"]
    return Row(DISK, "runs/annotate", COPIES * total, "bytes", f"{', '.join(what)}; {CACHED}")


def _moments(recipe: Recipe, network: PanopticSegFormer) -> int:
    """Bytes of the optimizers: two numbers a trained parameter with AdamW, one with Muon."""
    numbers = 0
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            muon = recipe.train.optimizer == "muon" and is_inner_matrix(name, parameter)
            numbers += parameter.numel() * (1 if muon else 2)
    return 4 * numbers


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())
