"""Digests of the weights after the first steps of a run, in a file beside its state.

By them `model.verify` knows whether a replay of these steps gives the same bits. The losses tell how far apart two
machines are that round differently.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from model.training.distributed.sharding import full_on_cpu
from panoptic.io.json_fields import read_json, write_json

STEPS = (1, 2, 4, 8, 16)
NAME = "first_steps.json"


def note_first_step(folder: Path, step: int, network: nn.Module, terms: Iterable[Tensor], is_main: bool) -> None:
    """Note the weights after `step`, if it is one of `STEPS`, and the sum of its loss terms.

    All processes call it, because each may hold a shard of the network; the main one writes.
    """
    if step not in STEPS:
        return
    weights = full_on_cpu(network.state_dict(), keep=is_main)
    if not is_main:
        return
    note = folder / NAME
    earlier = read_json(note).values if note.is_file() and step > STEPS[0] else {}
    loss = float(torch.stack(list(terms)).sum())
    described = {"weights": weights_digest(cast("Mapping[str, Tensor]", weights)), "loss": loss}
    write_json(note, {**earlier, str(step): described})


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and bytes of full tensors on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
