"""The processes of a training run: a single one, or several started by torchrun."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from model.device import pick_device

LOOPBACK = "127.0.0.1"
STEP_WAIT = timedelta(minutes=10)
VALIDATION_WAIT = timedelta(hours=6)
_BROADCAST_BYTES = 1 << 28


@dataclass(frozen=True)
class Processes:
    """This process among `world_size`. All of them call each method, in the same order."""

    rank: int = 0
    world_size: int = 1
    validation_group: dist.ProcessGroup | None = None
    """A second group of all processes, with a timeout much longer than a step may take."""

    @property
    def is_main(self) -> bool:
        """True for the process that writes files and shows progress."""
        return self.rank == 0

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, in one message per data type."""
        if self.world_size == 1:
            return
        groups: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault(tensor.dtype, []).append(tensor)
        for group in groups.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            dist.all_reduce(flat)
            start = 0
            for tensor in group:
                tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number, device=pick_device())
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def broadcast(self, data: bytes | None) -> bytes | None:
        """Return the main process's `data` in all processes; the others' argument is ignored.

        Files are sent this way instead of being read by every process: machines that share a network file system may
        see different versions of a file.
        """
        if self.world_size == 1:
            return data
        device = pick_device()
        size = torch.tensor(-1 if data is None else len(data), device=device)
        dist.broadcast(size, 0)
        if size < 0:
            return None
        parts = []
        for start in range(0, int(size), _BROADCAST_BYTES):
            length = min(_BROADCAST_BYTES, int(size) - start)
            part = torch.empty(length, dtype=torch.uint8, device=device)
            if self.is_main:
                assert data is not None
                part.copy_(torch.frombuffer(bytearray(data[start : start + length]), dtype=torch.uint8))
            dist.broadcast(part, 0)
            parts.append(part.cpu().numpy().tobytes())
        return b"".join(parts)

    def wait_for_main(self) -> None:
        """Wait until the main process has done something alone that may take longer than a step's timeout."""
        if self.validation_group is not None:
            dist.barrier(self.validation_group)


@contextmanager
def joined_processes(step_wait: timedelta = STEP_WAIT) -> Iterator[Processes]:
    """Join the process group that torchrun's environment describes, if there is one.

    A process that waits longer than `step_wait` for the others fails, and torchrun then restarts all of them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(pick_device())
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    store = _store_on_loopback(rank, world_size) if os.environ["MASTER_ADDR"] == LOOPBACK else None
    dist.init_process_group(backend, timeout=step_wait, store=store, rank=rank, world_size=world_size)
    yield Processes(rank, world_size, dist.new_group(backend="gloo", timeout=VALIDATION_WAIT))
    # Not after an error: the others lose their connection only once this process has exited, so its status comes first.
    dist.destroy_process_group()


def _store_on_loopback(rank: int, world_size: int) -> TCPStore | None:
    """Let processes of one machine exchange addresses on its loopback; torch's own store listens on all interfaces."""
    port = int(os.environ["MASTER_PORT"])
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # plain torchrun provides one
        return None
    if rank:
        return TCPStore(LOOPBACK, port, world_size)
    listener = socket.create_server((LOOPBACK, port))
    return TCPStore(LOOPBACK, port, world_size, is_master=True, master_listen_fd=listener.detach())
