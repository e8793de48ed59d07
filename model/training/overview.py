"""The first lines of a training run: what is about to happen, and settings that do not suit the amount of data."""

from collections.abc import Iterator, Mapping

from model.device import pick_device, uses_bfloat16
from model.inference.predict import crowded_images
from model.network.config import NetworkConfig
from model.training.loop import TrainingRun
from model.training.settings import TrainSettings
from panoptic.index import PanopticIndex
from panoptic.index.records import segment_counts
from panoptic.io.errors import DatasetError


def require_segments(index: PanopticIndex, where: str) -> None:
    """Check that there is something to learn.

    Raises:
        DatasetError: no image of `index`, which `where` names, has a segment.
    """
    if not segment_counts(index.records, [category.id for category in index.categories]).any():
        raise DatasetError(
            f"{where}: {len(index.records)} images, none of which has a segment, so that there is nothing to learn; "
            "run stages.annotate on a split with annotated images"
        )


def describe_run(run: TrainingRun) -> Iterator[str]:
    """Yield one line each for the data, the steps and the learning rate, and then the warnings."""
    settings, categories, device = run.settings, run.index.categories, pick_device()
    classes = f"{len(categories.things)} thing and {len(categories.stuff)} stuff classes"
    yield f"training on {len(run.index.records)} images of {classes} from {run.index.images}"
    batch = f"{settings.batch_size} images, {settings.images_per_forward} per forward pass"
    precision = "bfloat16" if uses_bfloat16(settings.precision, device) else "float32"
    yield (
        f"epochs: {settings.epochs}; steps: {run.steps}, of {batch}; processes: {run.processes.world_size}, on "
        f"{device.type} in {precision}; {settings.optimizer}, {_describe_rate(settings)}"
    )
    yield from _warnings(run)


def data_warnings(config: NetworkConfig, indices: Mapping[str, PanopticIndex]) -> Iterator[str]:
    """Warn of an index without images, and of images with more segments than the network can find."""
    for where, index in indices.items():
        if not index.records:
            yield f"warning: {where}: no image, so that the quality is never measured"
        yield from crowded_images(config, index, where)


def _describe_rate(settings: TrainSettings) -> str:
    rate = f"learning rate {settings.learning_rate:g}"
    if settings.schedule == "cosine":
        return f"{rate}, falling to 0 as a cosine"
    steps = settings.rate_steps
    return f"{rate}, a tenth of it from epoch {', '.join(map(str, steps))} on" if steps else f"{rate}, constant"


def _warnings(run: TrainingRun) -> Iterator[str]:
    """Warn of settings that a run can be made with, but that hardly anybody wants."""
    settings, images = run.settings, len(run.index.records)
    if settings.batch_size > images:
        yield (
            f"warning: train.batch_size is {settings.batch_size}, but there are {images} images, so that each step "
            "takes some of them several times; lower it"
        )
    if settings.warmup_steps >= run.steps:
        yield (
            f"warning: train.warmup_steps is {settings.warmup_steps}, but the run has {run.steps} steps, so that the "
            "learning rate never reaches train.learning_rate; lower it, or raise train.epochs"
        )
