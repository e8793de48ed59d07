"""Shard parameters, gradients and optimizer state over the processes (FSDP).

Needed where one GPU cannot hold all of them (Swin-L: 221 M parameters, with AdamW and a weight average 4.4 GB of
float32). States are saved as full tensors, so that they fit any number of processes, sharded or not.

torch's part is imported by the functions that need it: it takes half a second, which `--help` need not wait for.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.optim import Optimizer

from model.network.segmenter import Segmenter
from model.training.distributed.processes import Processes


def shard(network: Segmenter, processes: Processes) -> None:
    """Shard `network` in place over `processes`; its gradients then come summed over them.

    The backbone, nine tenths of a large network, is gathered when it runs and sharded again afterwards. The rest stays
    gathered from the forward to the backward pass, because parts of it pass parameters on unchanged (queries).
    """
    from torch.distributed.fsdp import fully_shard

    device = next(network.parameters()).device
    mesh = init_device_mesh(device.type, (processes.world_size,))
    for part in (*([network.backbone] if network.backbone else []), network):
        sharded = fully_shard(part, mesh=mesh)
        # Losses are normalized by counts over all processes, so gradients are summed, not averaged.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)


def set_gradient_sync(network: nn.Module, enabled: bool) -> None:
    """Sum the gradients of a sharded network over the processes in the next backward pass, or accumulate them."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(enabled)


def full(tensor: Tensor) -> Tensor:
    """Return the full tensor. For a sharded one all processes call this, in the same order."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def full_on_cpu(tree: object, keep: bool) -> object:
    """Gather the tensors of a state dict in full on the CPU, one after the other to save memory.

    All processes call it; without `keep`, None takes the place of each tensor.
    """
    if isinstance(tree, Tensor):
        gathered = full(tree.detach())
        return gathered.cpu() if keep else None
    if isinstance(tree, Mapping):
        return {key: full_on_cpu(value, keep) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [full_on_cpu(value, keep) for value in tree]
    return tree


def load_full(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load full weights into a network, sharded or not."""
    present = network.state_dict()
    if set(present) != set(weights):
        raise ValueError(f"weights of another network: {', '.join(sorted(set(present) ^ set(weights))[:5])} differ")
    network.load_state_dict({name: _like(present[name], value) for name, value in weights.items()})


def load_full_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load the full state of an optimizer into that of a network, sharded or not."""
    optimizer.load_state_dict(cast("dict[str, Any]", state))
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = _like(parameter, value)


def _like(model: Tensor, value: Tensor) -> Tensor:
    """Shard `value` as `model` is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(model, DTensor) or isinstance(value, DTensor):
        return value
    with torch.no_grad():
        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements, src_data_rank=None)
