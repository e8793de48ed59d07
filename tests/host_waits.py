"""Count what would make the host wait for a CUDA device, without one.

While the host waits, it queues no work, and the device idles from the end of the queue until the next launch. Here
everything runs on the CPU. The tensors that a GPU would hold are known by their storage: those that are given, what
factories make for a `device`, and results of operations on them. A transfer to the host gives a copy, which is not.

Counted is what `torch.cuda.set_sync_debug_mode` reports on a GPU: transfers to the host, transfers to the device
without `non_blocking`, and operations whose result has a size that only the device knows. An operation that a GPU
would refuse, because its operands lie on both, fails. What libraries without torch operations do is not seen.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parents[1]
TO_HOST, TO_DEVICE, INDEX = "transfer to the host", "transfer to the device", "index by a mask"
_READS = {"_local_scalar_dense": "read of a number", "equal": "comparison by torch.equal"}
_SIZED_BY_VALUES = ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount")
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put")

Waits = Counter[tuple[str, str]]
"""How often a function of `model`, as `training/loop.py:optimize`, waits for an operation."""


@contextmanager
def host_waits(on_device: Iterable[Tensor]) -> Iterator[Waits]:
    """Count the waits of the block, in which the tensors `on_device` stand for tensors of a GPU."""
    device = _Device()
    for tensor in on_device:
        device.add(tensor)
    with _Functions(device), _Operations(device).mode():
        yield device.waits


class _Device:
    """The storages that a GPU would hold."""

    def __init__(self) -> None:
        self.waits: Waits = Counter()
        self.called = False  # a function of its tensors is running
        self._storages: dict[int, torch.UntypedStorage] = {}  # by address, which is not reused as long as they are kept

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = storage

    def remove(self, tensor: Tensor) -> None:
        self._storages.pop(tensor.untyped_storage()._cdata, None)

    def holds(self, value: object) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._storages

    def wait(self, operation: str) -> None:
        self.waits[_caller(), operation] += 1


class _Functions(TorchFunctionMode):
    """Sees transfers, which on the CPU are no operations, and tensors made for a device."""

    def __init__(self, device: _Device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        device, given = self.device, dict(kwargs or {})
        device.called = any(map(device.holds, tree_leaves((args, given))))
        try:
            result = func(*args, **given)
        finally:
            device.called = False
        if func is Tensor.to and not device.holds(args[0]) and _names_device(args[1:], given, device):
            if not given.get("non_blocking", False):
                device.wait(TO_DEVICE)
            result = result.clone()
            device.add(result)
        elif func is Tensor.new_tensor and device.holds(args[0]):
            device.wait(TO_DEVICE)
            device.add(result)
        elif func is not Tensor.to and given.get("device") is not None and isinstance(result, Tensor):
            if func in (torch.tensor, torch.as_tensor):
                device.wait(TO_DEVICE)
            device.add(result)
        elif args and device.holds(args[0]) and _comes_to_host(func, args, given):
            device.wait(TO_HOST)
            if isinstance(result, Tensor):
                result = result.clone()
                device.remove(result)
        return result


class _Operations:
    """Sees all other operations, also those of backward passes and within torch's own functions."""

    def __init__(self, device: _Device) -> None:
        self.device = device

    def mode(self) -> AbstractContextManager[object]:
        """Make the mode, whose base class has no annotations to derive from."""
        derived: Any = type("Mode", (TorchDispatchMode,), {"__torch_dispatch__": lambda _, *called: self.see(*called)})
        made: AbstractContextManager[object] = derived()
        return made

    def see(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        given = dict(kwargs or {})
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)]
        held = [tensor for tensor in tensors if self.device.holds(tensor)]
        if held:
            self._count(name, args, given, tensors)
        result = func(*args, **given)
        # Functions of the device's tensors, and backward passes, also fill tensors from nothing: there.
        if held or (not tensors and (self.device.called or torch._C._current_graph_task_id() >= 0)):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self.device.add(leaf)
        return result

    def _count(self, name: str, args: Sequence[Any], given: Mapping[str, Any], tensors: Sequence[Tensor]) -> None:
        device = self.device
        host = [tensor for tensor in tensors if tensor.dim() and not device.holds(tensor)]
        if name == "copy_":
            if host:
                device.wait(TO_HOST if host[0] is args[0] else TO_DEVICE)
        elif name in _INDEXING:
            indices = [index for index in args[1] if index is not None]
            masks = [index.dtype in (torch.bool, torch.uint8) for index in indices]
            fills = name != "index" and all(masks) and args[2].numel() == 1  # is a masked_fill
            if any(masks) and not fills:
                device.wait(INDEX)
            if host:
                device.wait(TO_DEVICE)
        else:
            assert not host, f"{_caller()}: {name} has operands on the device and on the host"
            if name in _READS:
                device.wait(_READS[name])
            elif name in _SIZED_BY_VALUES or (name == "repeat_interleave" and given.get("output_size") is None):
                device.wait(name)


def _names_device(rest: Sequence[Any], given: Mapping[str, Any], device: _Device) -> bool:
    """Tell whether `to` asks for the device: by a `torch.device`, or as a tensor there is; "cpu" is the host."""
    return any(isinstance(one, torch.device) or device.holds(one) for one in (*rest, *given.values()))


def _comes_to_host(func: Callable[..., Any], args: Sequence[Any], given: Mapping[str, Any]) -> bool:
    if func is Tensor.numpy:
        return bool(given.get("force"))
    return func in (Tensor.cpu, Tensor.tolist) or (
        func is Tensor.to and any(isinstance(one, str) and one == "cpu" for one in (*args[1:], *given.values()))
    )


def _caller() -> str:
    """Name the innermost function of `model` that is running, with its file."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT / "model"):
            return f"{file.relative_to(ROOT / 'model')}:{frame.f_code.co_qualname.split('.<locals>')[0]}"
    return "outside of model"
