"""A forward pass of a published network with weights and images by the rules behind the recordings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.official_parity.rules import Case, fill, make_input
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, PanopticPrediction, predict_panoptic
from model.network.backbones.swin import POSITION_INDEX, relative_position_index
from model.network.outputs import PanopticOutput, QuerySelection
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import QuerySelector, top_queries
from model.weights.official.classes import ClassCounts
from model.weights.official.models import CONFIGS, require_model
from model.weights.official.names import from_official, without_unused
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import read_json

SCORE_THRESHOLDS: Mapping[str, float] = {"r50": 0.25, "r101": 0.25, "pvtv2_b5": 0.3, "swin_l": 0.3}
SELECTED = 100
TIE = 1e-5
"""Largest difference in class probability at which a recorded pair replaces a selected one."""

Pairs = tuple[tuple[int, int], ...]
"""The selected (query, label) pairs of an image."""


@dataclass(frozen=True)
class CheckpointEntry:
    """Name, shape and type of one entry of a published checkpoint."""

    name: str
    shape: tuple[int, ...]
    type: str


@dataclass(frozen=True)
class Forward:
    """Outputs of a network for one batch, with intermediate results."""

    case: Case
    features: tuple[Tensor, ...]  # of the backbone
    levels: tuple[Tensor, ...]  # of the neck
    output: PanopticOutput
    sizes: tuple[ImageSizes, ...]
    predictions: tuple[PanopticPrediction, ...]


def read_entries(path: Path) -> tuple[CheckpointEntry, ...]:
    """Read the ordered entries of a published checkpoint from a JSON file with `keys`: [name, shape, type] each."""
    items = read_json(path).values.get("keys")
    if not isinstance(items, list) or not items:
        raise DatasetError(f"{path}: 'keys' should list [name, shape, type] of every entry; take a keys_*.json")
    entries = []
    for item in items:
        match item:
            case [str(name), list(shape), str(type_)] if all(type(size) is int for size in shape):
                entries.append(CheckpointEntry(name, tuple(shape), type_))
            case _:
                raise DatasetError(
                    f"{path}: 'keys' should list [name, shape, type], found {str(item)[:60]}; correct it"
                )
    return tuple(entries)


def network_by_rule(model: str, entries: tuple[CheckpointEntry, ...], subject: str) -> PanopticSegFormer:
    """Make a published network with the rule's value in every entry.

    Raises:
        OfficialLayoutError: the entries are not those of the model.
    """
    config = CONFIGS[model]
    state = {entry.name: _placeholder(entry) for entry in entries}
    require_model(state, model, subject)
    counts = ClassCounts.of_official(state)
    weights = {
        name: torch.from_numpy(fill(name, tuple(tensor.shape))) if tensor.is_floating_point() else tensor
        for name, tensor in without_unused(state).items()
    }
    network = PanopticSegFormer(config, counts.things, counts.stuff).eval()
    network.load_state_dict(from_official(config.backbone, weights, network.state_dict()))
    return network


def _placeholder(entry: CheckpointEntry) -> Tensor:
    """Make an integer buffer as a new network has it; for other entries zeros that take no memory."""
    if entry.name.endswith(POSITION_INDEX):
        return relative_position_index(isqrt(entry.shape[0]))
    dtype = torch.float32 if entry.type == "float32" else torch.int64
    return torch.zeros((), dtype=dtype).expand(entry.shape)


def run(network: PanopticSegFormer, case: Case, recorded: tuple[Pairs, ...], score_threshold: float) -> Forward:
    """Run the forward pass of a case and merge its padded images as the published code does.

    Args:
        network: a network with the weights of the rule.
        case: the sizes of the images.
        recorded: the selected pairs of every image, to decide near ties; empty without recordings.
        score_threshold: threshold of merging.
    """
    images = torch.from_numpy(make_input(case))
    seen: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = []

    def keep(_: nn.Module, arguments: tuple[tuple[Tensor, ...]], levels: list[Tensor]) -> None:
        seen.append((tuple(arguments[0]), tuple(levels)))

    handle = network.neck.register_forward_hook(keep)
    with torch.no_grad():
        output = network(images, case.valid, select_recorded(recorded))
    handle.remove()
    sizes = tuple(ImageSizes(case.batch, *pair) for pair in zip(case.valid, case.original, strict=True))
    predictions = predict_panoptic(output, sizes, MergingSettings(score_threshold=score_threshold), crop_padding=False)
    return Forward(case, *seen[0], output, sizes, predictions)


def select_recorded(recorded: tuple[Pairs, ...]) -> QuerySelector:
    """Select the most probable pairs, and of near ties among the last ones those that were recorded."""
    best = top_queries(SELECTED)

    def select(class_logits: Tensor, boxes: Tensor) -> QuerySelection:
        selection = best(class_logits, boxes)
        _, queries, classes = class_logits.shape
        indices, labels, scores = selection.indices.clone(), selection.labels.clone(), selection.scores.clone()
        for image, pairs in enumerate(recorded):
            ours = list(zip(indices[image].tolist(), labels[image].tolist(), strict=True))
            others = [
                (query, label)
                for query, label in pairs
                if (query, label) not in ours and 0 <= query < queries and 0 <= label < classes
            ]
            spare = [column for column, pair in enumerate(ours) if pair not in pairs]
            for column, (query, label) in zip(spare, others, strict=False):
                score = class_logits[image, query, label].float().sigmoid()
                if scores[image, column] - score <= TIE:
                    indices[image, column], labels[image, column], scores[image, column] = query, label, score
        return replace(selection, indices=indices, labels=labels, scores=scores)

    return select
