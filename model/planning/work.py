"""How much there is to do: counts that follow from the settings and the dataset alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.planning.dataset import PlannedDataset
from model.planning.recipe import Recipe
from model.planning.rows import Row, counted
from model.training.sampling import steps_per_epoch
from panoptic.errors import DatasetError

SECTION = "work"


@dataclass(frozen=True)
class Work:
    """The counts of a recipe on a dataset."""

    recipe: Recipe
    dataset: PlannedDataset

    @property
    def steps(self) -> int:
        """Optimiser steps of the training."""
        return self.recipe.train.epochs * steps_per_epoch(self.dataset.train.count, self.recipe.train.batch_size)

    @property
    def validations(self) -> int:
        """One after every interval, and one at the end."""
        return -(-self.steps // self.recipe.train.validate_every)

    @property
    def corrupted(self) -> int:
        """Pictures of COCO-C, all variants together."""
        corrupt = self.recipe.corrupt
        chosen = _listed_ids(Path(corrupt.image_ids)) if corrupt.image_ids else self.dataset.val.count
        return min(chosen, corrupt.pictures or chosen) * len(corrupt.variants)

    def rows(self) -> Iterator[Row]:
        """The lines of the plan."""
        train, dataset = self.recipe.train, self.dataset
        for name, pictures in (("pictures to learn from", dataset.train), ("pictures to validate on", dataset.val)):
            yield Row(SECTION, name, pictures.count, "count", pictures.source)
        how = f"{dataset.num_things} things, {dataset.num_stuff} stuff"
        yield Row(SECTION, "classes", dataset.num_things + dataset.num_stuff, "count", how)
        per_epoch = steps_per_epoch(dataset.train.count, train.batch_size)
        share = (
            f"{counted(self.recipe.forwards, 'forward pass', 'es')} of {counted(train.images_per_forward, 'picture')}"
        )
        processes = counted(self.recipe.processes, "process", "es")
        how = f"{counted(train.epochs, 'epoch')} of {per_epoch}; in each {processes}"
        yield Row(SECTION, "steps", self.steps, "count", f"{how}, each {share}")
        how = f"every {train.validate_every} steps, and at the end"
        yield Row(SECTION, "validations", self.validations, "count", how)
        variants = len(self.recipe.corrupt.variants)
        how = f"{self.corrupted // variants} pictures in {counted(variants, 'variant')}"
        yield Row(SECTION, "corrupted pictures", self.corrupted, "count", how)


def _listed_ids(path: Path) -> int:
    """Image ids in a list, one a line; `#` begins a comment."""
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; correct corrupt.image_ids")
    return sum(bool(line.partition("#")[0].strip()) for line in path.read_text().splitlines())
