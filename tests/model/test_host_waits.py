"""A training step and a prediction wait for a GPU only where the host decides something by a value of the device.

A wait that is not listed here fails, with the function and the operation that would cause it on a GPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.harness.synthetic import made_categories
from benchmarks.harness.trainer import made_batch, make_trainer
from model.inference.merging import MergingSettings
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.pixels import image_statistics
from model.published.models import COCO_STUFF, COCO_THINGS
from model.training.criterion import LossWeights
from model.training.loop import optimize
from model.training.settings import TrainSettings
from panoptic.index import PanopticIndex
from tests.host_waits import INDEX, TO_DEVICE, TO_HOST, host_waits
from tests.model.network.tiny_network import TINY, tiny_network

MICRO_BATCHES = 2
STEP = {
    # SciPy assigns segments on the host. In the forward pass the selected queries, in the loss all location layers,
    # the encoder's proposals and the second matching.
    ("training/matcher.py:match", TO_HOST): 4 * MICRO_BATCHES,
    # Weights must not change by a gradient that is not finite: one read of all terms and the norm, before the update.
    ("training/loop.py:_check_finite", TO_HOST): 1,
}
IMAGE = {
    # The number of masks decides the sizes of all that follows.
    ("inference/post_processing.py:find_masks", "nonzero"): 1,
    # The batch's output must be finite: one read, before anything is made of it.
    ("inference/predictor.py:_require_finite", "read of a number"): 1,
    # Bits and quality of all masks: the result itself. What follows finds a device without work and waits for no
    # more than its own transfer: labels, probabilities and queries; boxes; numbers of queries.
    ("inference/bit_masks.py:segment_masks", TO_HOST): 2,
    ("inference/post_processing.py:FoundMasks.merge", TO_HOST): 3,
    ("inference/post_processing.py:FoundMasks._instances", TO_HOST): 1,
    ("inference/post_processing.py:FoundMasks._with_queries", TO_HOST): 1,
}
# The map that an argmax of the device fills; `detr` compares the masks again without the small ones.
OWNERS = ("inference/merging.py:_owners", TO_HOST)
MAPS = {"mask": 0, "mask_pixel": 1, "pixel": 1, "pixel_class": 1, "detr": 2}


CPU = torch.device("cpu")
NORMALIZATION = image_statistics(CPU)
"""Copied to a device once in a process."""


def test_a_training_step() -> None:
    torch.manual_seed(0)
    config = replace(TINY, query_initialization="encoder", token_classes=True)
    network = PanopticSegFormer(config, COCO_THINGS, COCO_STUFF)
    settings = TrainSettings(optimizer="muon", ema_decay=0.9, losses=LossWeights(token_class=1.0))
    index = PanopticIndex(made_categories(COCO_THINGS, COCO_STUFF), Path(), Path(), ())
    run, state = make_trainer(network, index, settings)
    assert state.average is not None
    weights = [*network.state_dict().values(), *state.average.network.state_dict().values()]
    packed = [made_batch((64, 48), 3, 2, "decoupled", count=2) for _ in range(MICRO_BATCHES)]
    with host_waits([*weights, *NORMALIZATION]) as waits:
        for _ in range(2):  # the first step allocates what optimizers keep
            optimize(run, state, [batch.to(CPU) for batch in packed])
            state.step += 1
    assert waits == {wait: 2 * count for wait, count in STEP.items()}


@pytest.mark.parametrize(("method", "maps"), MAPS.items())
def test_a_predicted_image(method: str, maps: int) -> None:
    network = tiny_network()
    merging = MergingSettings(method, score_threshold=0, mask_threshold=0.1, overlap_things=1, overlap_stuff=1)
    predictor = Predictor(network, InferenceSettings(shorter=48, longer=64, merging=merging))
    image = predictor.prepare(np.random.default_rng(0).integers(0, 256, (50, 66, 3), np.uint8), "drawn")
    with host_waits([*network.state_dict().values(), *NORMALIZATION]) as waits:
        (prediction,) = predictor.predict([image])
    assert prediction.segments
    assert waits == IMAGE | ({OWNERS: maps} if maps else {})


VALUES = torch.arange(6.0)
CAUSES: Mapping[str, tuple[str, Callable[[Tensor], object]]] = {
    "float": ("read of a number", lambda values: float(values[0])),
    "condition": ("read of a number", lambda values: bool((values > 1).all())),
    "tolist": (TO_HOST, lambda values: values.tolist()),
    "numpy": (TO_HOST, lambda values: values.numpy(force=True)),
    "to cpu": (TO_HOST, lambda values: values.to("cpu")),
    "host copy": (TO_HOST, lambda values: torch.empty(6).copy_(values)),
    "equal": ("comparison by torch.equal", lambda values: torch.equal(values, values + 1)),
    "mask": (INDEX, lambda values: values[values > 1]),
    "masked values": (INDEX, lambda values: values.clone().index_put_((values > 1,), values[:4])),
    "unique": ("unique_consecutive", lambda values: torch.unique_consecutive(values)),
    "repeats": ("repeat_interleave", lambda values: values.repeat_interleave(values.long())),
    "new tensor": (TO_DEVICE, lambda values: values.new_tensor([1, 2])),
    "tensor": (TO_DEVICE, lambda values: torch.tensor([1, 2], device=values.device)),
    "host index": (TO_DEVICE, lambda values: values[torch.tensor([1, 2])]),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_counts_once(cause: str) -> None:
    operation, wait = CAUSES[cause]
    with host_waits([VALUES]) as waits:
        wait(VALUES)
    assert waits == {("outside of model", operation): 1}


def test_work_of_the_host_and_work_that_is_only_queued_do_not_count() -> None:
    with host_waits([VALUES]) as waits:
        filled = torch.where(VALUES > 1, VALUES, torch.zeros(6, device=VALUES.device)).sort().values
        filled[VALUES > 1] = 0
        filled.add_(torch.tensor([1.0]).to(VALUES.device, non_blocking=True))
        host = torch.arange(6)
        assert (float(host[1]), host[host > 1].tolist()) == (1, [2, 3, 4, 5])
    assert not waits


def test_values_that_came_to_the_host_count_once() -> None:
    with host_waits([VALUES]) as waits:
        copy = (VALUES + 1).cpu()
        assert (float(copy[1]), copy[copy > 4].tolist()) == (2, [5, 6])
    assert waits.total() == 1


def test_what_a_gpu_would_refuse_fails() -> None:
    with pytest.raises(AssertionError, match="add has operands on the device and on the host"), host_waits([VALUES]):
        VALUES + torch.ones(6)
