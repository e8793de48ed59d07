"""The training loop of all network families: optimizer steps from the last saved state to the end.

A step loads all its micro-batches and counts their segments, takes each micro-batch forward and backward with losses
normalized by those counts, then sums the gradients over the processes, clips and applies them.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.device import keep_freed_memory, pick_device, uses_bfloat16
from model.network.segmenter import Segmenter
from model.training.batch import Batch, PackedBatch
from model.training.criterion import SegmentCounts
from model.training.curves import Curves
from model.training.distributed.checkpointing import checkpoint_layers
from model.training.distributed.ownership import Ownership
from model.training.distributed.processes import Processes
from model.training.distributed.sharding import full, load_full, set_gradient_sync, shard
from model.training.distributed.stopping import StoppedError
from model.training.ema import WeightAverage
from model.training.first_steps import note_first_step
from model.training.loading import loaded
from model.training.objective import BatchObjective
from model.training.optimizer import build_optimizers, rate_at, set_rate
from model.training.sampling import Accumulation, TrainingImages, batch_plan, steps_per_epoch, training_loader
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.index import PanopticIndex
from panoptic.io.reading import read_file
from panoptic.runtime.resume import note_progress

Validate = Callable[[Segmenter], dict[str, float]]
"""Evaluates a network; the result is a row of the quality curve."""


class NonFiniteLossError(ValueError):
    """A loss term or the gradient is infinite or not a number."""


@dataclass(frozen=True)
class TrainingRun:
    """A training run: network, data, settings and locations of files."""

    network: Segmenter
    index: PanopticIndex
    settings: TrainSettings
    state_file: Path
    curves: Path
    processes: Processes
    validate: Validate
    stop_requested: Callable[[], int] = lambda: 0
    sharding: str = "none"

    def __post_init__(self) -> None:
        """Reject a loss on something that the network does not compute, and Muon on shards of matrices."""
        if self.sharded and self.settings.optimizer == "muon":
            raise ValueError(
                "train.optimizer is 'muon', which needs full matrices, but cluster.sharding is 'full'; set the "
                "optimizer to adamw or the sharding to none"
            )
        if self.settings.losses.token_class and not self.network.config.token_classes:
            raise ValueError(
                f"train.losses.token_class is {self.settings.losses.token_class}, but model.token_classes is false; "
                "set it to true, or the weight to 0"
            )

    @property
    def sharded(self) -> bool:
        """True if the network is sharded over the processes."""
        return self.sharding == "full" and self.processes.world_size > 1

    @property
    def steps(self) -> int:
        """Number of optimizer steps of the whole run."""
        return self.settings.epochs * steps_per_epoch(len(self.index.records), self.settings.batch_size)


def train(run: TrainingRun) -> Segmenter:
    """Train from the saved state, or from the beginning, to the end; return the network to evaluate, on the CPU.

    Raises:
        StoppedError: a process was asked to stop; the state is saved.
        StateTakenError: another trainer has taken over this run.
        NonFiniteLossError: training diverged.
    """
    keep_freed_memory()
    device, is_main = pick_device(), run.processes.is_main
    full_network = copy.deepcopy(run.network).cpu() if run.sharded else None
    state, ownership = _initial_state(run, device), Ownership(run.state_file.parent)
    if is_main:
        ownership.claim()
    saved = run.processes.broadcast(read_file(run.state_file) if is_main and run.state_file.exists() else None)
    if saved is not None:
        state.restore(saved, run.state_file, run.steps, is_main)
        if is_main:
            print(f"resuming from {run.state_file}: step {state.step} of {run.steps}", flush=True)
    with batches_of_steps(run, state.step) as steps:
        _take_steps(run, state, steps, ownership, full_network)
    return _evaluated_network(run, state, full_network).cpu().eval()


def _take_steps(
    run: TrainingRun,
    state: RunState,
    steps: Iterable[list[PackedBatch]],
    ownership: Ownership,
    full_network: Segmenter | None,
) -> None:
    is_main, device = run.processes.is_main, pick_device()
    bar = tqdm(steps, total=run.steps, initial=state.step, unit="step", disable=not is_main)
    for batches in bar:
        rate = rate_at(state.step, run.steps // run.settings.epochs, run.settings)
        set_rate(state.optimizers, rate)
        terms = optimize(run, state, [batch.to(device) for batch in batches])
        state.recent.append(torch.stack(list(terms.values())))
        state.step += 1
        note_first_step(run.state_file.parent, state.step, run.network, terms.values(), is_main)
        # Rows end where states do, so that a resumed run writes the same curve.
        if _ends(run.settings.log_every, run, state) or _ends(run.settings.save_every, run, state):
            row = curve_row(rate, list(terms), torch.stack(state.recent).mean(0))
            bar.set_postfix(loss=f"{row['total']:.3f}")
            if is_main:
                state.curves.add("loss", state.step, row)
            state.recent = []
        if _ends(run.settings.validate_every, run, state):
            _validate(run, state, full_network)
        # A state is saved after the validation of its step.
        stopping = run.processes.largest(run.stop_requested()) if state.step < run.steps else 0
        if stopping or _ends(run.settings.save_every, run, state):
            if is_main:
                ownership.check()
            state.save(run.state_file, is_main)
            if is_main:
                note_progress(run.state_file.parent, f"step {state.step} of {run.steps}")
        if stopping:
            raise StoppedError(f"stopped after step {state.step} of {run.steps}: {run.state_file} is saved", stopping)


def _initial_state(run: TrainingRun, device: torch.device) -> RunState:
    network = run.network.to(device)
    average = WeightAverage(network, run.settings.ema_decay) if run.settings.ema_decay else None
    if run.settings.activation_checkpointing:
        checkpoint_layers(network)
    if run.sharded:
        for sharded in (network, average.network if average else None):
            if sharded is not None:
                shard(sharded, run.processes)
    return RunState(network, build_optimizers(network, run.settings), average, Curves(run.curves))


@contextmanager
def batches_of_steps(run: TrainingRun, first_step: int) -> Iterator[Iterator[list[PackedBatch]]]:
    """Load the micro-batches of every remaining optimizer step; the block's end ends the processes that load them."""
    settings = run.settings
    accumulation = Accumulation(
        settings.batch_size, settings.images_per_forward, run.processes.rank, run.processes.world_size
    )
    images = TrainingImages(run.index, settings.augmentation, settings.seed, run.network.config.stuff_queries)
    plan = batch_plan(run.index.records, accumulation, settings.seed, first_step, run.steps)
    workers = settings.workers if first_step < run.steps else 0
    with loaded(training_loader(images, plan, workers)) as batches:
        yield (list(islice(batches, accumulation.micro_batches)) for _ in range(run.steps - first_step))


def optimize(run: TrainingRun, state: RunState, batches: list[Batch]) -> dict[str, Tensor]:
    """Take one optimizer step on `batches`; return the loss terms summed over them and over the processes."""
    network, settings = run.network.train(), run.settings
    counts = _count_segments(run, batches)
    for optimizer in state.optimizers:
        optimizer.zero_grad()
    losses: list[dict[str, Tensor]] = []  # of each micro-batch
    totals: dict[str, Tensor] = {}
    for index, batch in enumerate(batches):
        set_gradient_sync(network, index == len(batches) - 1)
        _seed_forward(settings.seed, state.step, run.processes.rank * len(batches) + index)
        objective = BatchObjective(
            batch.targets, counts, settings.losses, settings.deep_supervision, settings.mask_matching
        )
        device = batch.images.device
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(settings.precision, device)):
            terms = network.losses(batch.images, batch.image_sizes, objective)
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        losses.append({name: term.detach() for name, term in terms.items()})
        for name, term in losses[-1].items():
            totals[name] = totals.get(name, 0) + term
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = _gradients(parameters)
    if not run.sharded:  # FSDP has summed them
        run.processes.sum_(gradients)
    norm = full(torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm))
    _check_finite(losses, norm, state.step, batches)
    for optimizer in state.optimizers:
        optimizer.step()
    if state.average:
        state.average.update(network, state.step)
    run.processes.sum_(totals.values())
    return totals


def _seed_forward(seed: int, step: int, forward: int) -> None:
    """Make dropout, the only randomness outside the loader, a function of the step and its micro-batch."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, forward]).generate_state(1, np.uint64)[0] >> 1))


def _count_segments(run: TrainingRun, batches: list[Batch]) -> SegmentCounts:
    counts = SegmentCounts.of([target for batch in batches for target in batch.targets])
    if run.processes.world_size == 1:
        return counts
    sums = torch.tensor([counts.images, counts.things, counts.stuff], device=batches[0].images.device)
    run.processes.sum_([sums])
    return SegmentCounts(*sums.tolist())


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return the gradients of all parameters, zero where there is none, so that all processes have the same list."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    return gradients


def _check_finite(losses: Sequence[dict[str, Tensor]], norm: Tensor, step: int, batches: Sequence[Batch]) -> None:
    """Check the loss terms of each micro-batch, then the gradient's norm; read together, as a read waits for a GPU."""
    checked = [*((terms, [batch]) for terms, batch in zip(losses, batches, strict=True)), ({"gradient": norm}, batches)]
    values = [value for terms, _ in checked for value in terms.values()]
    finite = iter(torch.isfinite(torch.stack(values)).tolist())
    for terms, checked_batches in checked:
        bad = [name for name, fine in zip(terms, finite, strict=False) if not fine]
        if bad:
            images = ", ".join(str(image_id) for batch in checked_batches for image_id in batch.image_ids)
            raise NonFiniteLossError(
                f"step {step + 1}: {', '.join(bad)} is not finite for the images {images}; "
                "lower train.learning_rate, lengthen train.warmup_steps, or look at these images"
            )


def curve_row(rate: float, names: list[str], means: Tensor) -> dict[str, float]:
    """Make a row of the loss curve, adding up the terms of one type over the layers."""
    row = {"learning_rate": rate, "total": float(means.sum())}
    for name, value in zip(names, means.tolist(), strict=True):
        term = re.sub(r"\d+(?=_)", "", name)
        row[term] = row.get(term, 0.0) + value
    return row


def _validate(run: TrainingRun, state: RunState, full_network: Segmenter | None) -> None:
    """Evaluate the network in the main process while the others wait."""
    network = _evaluated_network(run, state, full_network)
    if run.processes.is_main:
        state.curves.add("quality", state.step, run.validate(network.to(pick_device()).eval()))
    run.processes.wait_for_main()


def _evaluated_network(run: TrainingRun, state: RunState, full_network: Segmenter | None) -> Segmenter:
    """Return the weight average if there is one, else the network; if sharded, gathered into `full_network`."""
    network = state.average.network if state.average else run.network
    if full_network is None:
        return network
    load_full(full_network, {name: full(value) for name, value in network.state_dict().items()})
    return full_network


def _ends(interval: int, run: TrainingRun, state: RunState) -> bool:
    return state.step % interval == 0 or state.step == run.steps
