"""Train one network for the training benchmark in this process.

    python -m benchmarks.training.worker mini ours --threads 2

Prints a line when it is ready. For every number of steps on a line of its input, it trains that many and prints their
seconds and the peak memory so far in MB: of CUDA's allocator on a GPU, else of the whole process.
"""

import argparse
import atexit
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.baselines import transformers_models
from benchmarks.baselines.naive_training import use_naive_parts
from benchmarks.harness.device import PeakMemory, timer_for
from benchmarks.harness.trainer import made_batch, make_trainer
from model.device import keep_freed_memory, pick_device
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.published.models import COCO_STUFF, COCO_THINGS
from model.training.batch import PackedBatch
from model.training.distributed.checkpointing import checkpoint_layers
from model.training.loop import TrainingRun, batches_of_steps, optimize
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from stages.settings import load_section

MINI_INDEX = Path("runs/annotate/train.index")
SIZE = (480, 640)
THINGS, STUFF = 10, 6
"""Segments of the image that the R50 networks train on, before some of them cover others."""
MEGABYTE = 1e6

Step = Callable[[], None]


def mini(variant: str) -> Step:
    """Train on the embedded dataset with the settings of params.yaml, loader included."""
    settings = load_section(Path("params.yaml"), "train", TrainSettings)
    config = load_section(Path("params.yaml"), "model", NetworkConfig)
    index = PanopticIndex.load(MINI_INDEX)
    network = PanopticSegFormer(config, len(index.categories.things), len(index.categories.stuff))
    run, state = _prepare(network, index, settings, variant)
    loading = ExitStack()
    atexit.register(loading.close)
    return _steps(run, state, loading.enter_context(batches_of_steps(run, 0)))


def r50(variant: str) -> Step:
    """Train the published network on a batch of one."""
    network = PanopticSegFormer(NetworkConfig(), COCO_THINGS, COCO_STUFF)
    index = PanopticIndex(CategoryTable((), ()), Path(), Path(), ())
    run, state = _prepare(network, index, TrainSettings(batch_size=1, workers=0), variant)
    return _steps(run, state, repeat([made_batch(SIZE, THINGS, STUFF, network.config.stuff_queries)]))


def mask2former(_: str) -> Step:
    """Train Mask2Former of `transformers`."""
    network = transformers_models.mask2former(COCO_THINGS + COCO_STUFF).to(pick_device()).train()
    batch = made_batch(SIZE, THINGS, STUFF).to(pick_device())
    (target,) = batch.targets
    masks = target.query_masks.float()
    return _baseline_steps(
        network,
        lambda: network(pixel_values=batch.images, mask_labels=[masks], class_labels=[target.query_labels]).loss,
    )


def detr(_: str) -> Step:
    """Train DETR of `transformers`, which has boxes only."""
    network = transformers_models.detr(COCO_THINGS + COCO_STUFF).to(pick_device()).train()
    batch = made_batch(SIZE, THINGS, STUFF).to(pick_device())
    (target,) = batch.targets
    labels = [{"class_labels": target.query_labels, "boxes": target.query_boxes}]
    return _baseline_steps(network, lambda: network(pixel_values=batch.images, labels=labels).loss)


NETWORKS: Mapping[str, Callable[[str], Step]] = {"mini": mini, "r50": r50, "mask2former": mask2former, "detr": detr}
VARIANTS = ("ours", "naive", "checkpointing")


def _prepare(
    network: PanopticSegFormer, index: PanopticIndex, settings: TrainSettings, variant: str
) -> tuple[TrainingRun, RunState]:
    if variant == "naive":
        use_naive_parts()
    else:
        keep_freed_memory()
    run, state = make_trainer(network.to(pick_device()), index, settings)
    if variant == "checkpointing":
        checkpoint_layers(network)
    return run, state


def _steps(run: TrainingRun, state: RunState, batches: Iterator[list[PackedBatch]]) -> Step:
    def step() -> None:
        optimize(run, state, [batch.to(pick_device()) for batch in next(batches)])
        state.step += 1

    return step


def _baseline_steps(network: nn.Module, loss: Callable[[], Tensor]) -> Step:
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        torch.nn.utils.clip_grad_norm_(parameters, 0.1)
        optimizer.step()

    return step


def main() -> None:
    """Train as many steps as each line of the input says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.worker")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    timer, memory = timer_for(pick_device()), PeakMemory.start(pick_device())
    step = NETWORKS[arguments.network](arguments.variant)
    print("ready", flush=True)

    def train(steps: int) -> None:
        for _ in range(steps):
            step()

    for line in sys.stdin:
        seconds = timer.seconds(partial(train, int(line)))
        print(seconds, memory.bytes / MEGABYTE, flush=True)


if __name__ == "__main__":
    main()
