"""Recording what goes on inside a network during its normal forward pass, by hooks that are removed afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from model.network.deformable import DeformableAttention
from model.network.mask_decoder import MaskReader
from model.network.outputs import PanopticOutput, Shapes
from model.network.segmenter import Segmenter


class SamplingInput(NamedTuple):
    """What decides where a layer of deformable attention samples, of all images of a batch."""

    queries: Tensor  # (B, Q, C)
    references: Tensor  # (B, Q, L, 2 or 4)
    spatial_shapes: Shapes


@dataclass
class Recording:
    """What the last forward pass has left; empty where a network has no such layers."""

    attending: dict[MaskReader, Tensor] = field(default_factory=dict)
    """(B, N, C) queries as they attend in each layer of the mask decoders."""
    sampling: dict[DeformableAttention, SamplingInput] = field(default_factory=dict)
    outputs: list[PanopticOutput] = field(default_factory=list)

    @property
    def output(self) -> PanopticOutput:
        """Output of the network. Networks whose forward pass returns something else have none."""
        return self.outputs[-1]


@contextmanager
def recording(network: Segmenter) -> Iterator[Recording]:
    """Yield a recording that every forward pass of the network fills anew, until the block ends."""
    found = Recording()

    def keep_output(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
        if isinstance(output, PanopticOutput):
            found.outputs[:] = [output]

    with ExitStack() as hooks:
        hooks.callback(network.register_forward_hook(keep_output).remove)
        for module in network.modules():
            if isinstance(module, MaskReader):
                hooks.callback(_record_attending(module, found).remove)
            elif isinstance(module, DeformableAttention):
                hooks.callback(_record_sampling(module, found).remove)
        yield found


def _record_attending(reader: MaskReader, found: Recording) -> RemovableHandle:
    """Record what is projected to the queries of the attention, which no layer does outside of it."""

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.attending[reader] = inputs[0]

    return reader.q.register_forward_pre_hook(keep)


def _record_sampling(layer: DeformableAttention, found: Recording) -> RemovableHandle:
    def keep(_module: nn.Module, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Shapes]) -> None:
        found.sampling[layer] = SamplingInput(inputs[0], inputs[1], inputs[4])

    return layer.register_forward_pre_hook(keep)
