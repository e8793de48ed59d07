"""A network whose parameters, gradients and optimizer state are divided over the processes (FSDP).

Needed where one GPU cannot hold all of them (Swin-L: 221 M parameters, with AdamW and a weight average 4.4 GB of
float32). What is saved is whole, so that a state fits any number of processes, sharded or not.

Torch's part of it is imported by the functions that need it: it takes half a second, which `--help` need not wait for.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.optim import Optimizer

from model.network.panoptic_segformer import PanopticSegFormer
from model.training.distributed.processes import Processes


def shard(network: PanopticSegFormer, processes: Processes) -> None:
    """Divide `network` in place over `processes`, so that its gradients come summed over them.

    The backbone, nine tenths of a large network, is gathered when it runs and divided again after it has. The rest is
    gathered from the forward to the backward pass, because some of it gives its parameters away as they are (queries).
    """
    from torch.distributed.fsdp import fully_shard

    device = next(network.parameters()).device
    mesh = init_device_mesh(device.type, (processes.world_size,))
    for part in (network.backbone, network):
        divided = fully_shard(part, mesh=mesh)
        # The losses are normalized by counts over all processes: their gradients add up, and are no means.
        divided.set_gradient_divide_factor(1.0)
        divided.set_force_sum_reduction_for_comms(True)


def set_last_forward(network: nn.Module, last: bool) -> None:
    """Whether the gradients of the next backward pass are the step's last, and are summed over the processes."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(last)


def whole(tensor: Tensor) -> Tensor:
    """The undivided tensor. For a divided one all processes call it, in the same order."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_on_cpu(tree: object, keep: bool) -> object:
    """A state dict with all its tensors undivided and on the CPU, one after the other to save memory.

    All processes call it; those that do not `keep` it get it without its tensors.
    """
    if isinstance(tree, Tensor):
        gathered = whole(tree.detach())
        return gathered.cpu() if keep else None
    if isinstance(tree, Mapping):
        return {key: whole_on_cpu(value, keep) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [whole_on_cpu(value, keep) for value in tree]
    return tree


def load_whole(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network, divided or not, the weights of an undivided one."""
    present = network.state_dict()
    if set(present) != set(weights):
        raise ValueError(f"weights of another network: {', '.join(sorted(set(present) ^ set(weights))[:5])} differ")
    network.load_state_dict({name: _like(present[name], value) for name, value in weights.items()})


def load_whole_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer of a network, divided or not, the state of an undivided one's."""
    optimizer.load_state_dict(cast("dict[str, Any]", state))
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = _like(parameter, value)


def _like(model: Tensor, value: Tensor) -> Tensor:
    """`value` divided as `model` is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(model, DTensor) or isinstance(value, DTensor):
        return value
    with torch.no_grad():
        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements, src_data_rank=None)
