"""What a trained network finds by other ways of inference: `merging.json` and `early_exit.json` of the explain stage.

All of it is measured with the same weights on the same images. Times differ from run to run, so they have a file of
their own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from panoptic.io.json_fields import JsonObject, encode_json, read_json
from panoptic.report.explained import Drawing, Estimate

MERGING_FILE = "merging.json"
EARLY_EXIT_FILE = "early_exit.json"


@dataclass(frozen=True)
class OtherMerging:
    """A merging method beside mask-wise merging, on the same masks.

    Attributes:
        gain: PQ of mask-wise merging minus that of the method.
        better, worse: images in which mask-wise merging has the higher, and the lower PQ; the others have equal ones.
    """

    method: str
    pq: Estimate
    gain: Estimate
    better: int
    worse: int

    @classmethod
    def read(cls, entry: JsonObject) -> "OtherMerging":
        """Read it."""
        pq, gain = (Estimate.read(entry.child(name)) for name in ("pq", "gain"))
        return cls(entry.text("method"), pq, gain, entry.integer("better"), entry.integer("worse"))


@dataclass(frozen=True)
class MergingComparison:
    """Mask-wise merging against argmaxes per pixel.

    Attributes:
        images: how many were merged.
        pq: of mask-wise merging.
        others: the other methods.
        drawings: segments that mask-wise merging finds and the argmax per pixel loses.
    """

    images: int
    pq: Estimate
    others: tuple[OtherMerging, ...]
    drawings: tuple[Drawing, ...]

    @classmethod
    def read(cls, path: Path) -> "MergingComparison":
        """Read `merging.json`. Raises `DatasetError` that names what is wrong with it."""
        document = read_json(path)
        return cls(
            images=document.integer("images"),
            pq=Estimate.read(document.child("pq")),
            others=tuple(map(OtherMerging.read, document.objects("others"))),
            drawings=tuple(map(Drawing.read, document.objects("drawings"))),
        )

    def encode(self) -> bytes:
        """Encode it as the file that `read` reads."""
        return encode_json(asdict(self))


@dataclass(frozen=True)
class LayerExit:
    """What it means to read the masks after a layer of the mask decoder, and to compute none of those behind it.

    Attributes:
        name: `1` is the first layer; `all` has the final masks.
        pq: by group of classes.
        loss: PQ of all layers minus that of this one.
        milliseconds: an image takes, merging included: the median over batches.
        time: as a fraction of what all layers take for the same batch: the median over batches.
    """

    name: str
    pq: Mapping[str, Estimate]
    loss: Estimate
    milliseconds: Estimate
    time: Estimate

    @classmethod
    def read(cls, entry: JsonObject) -> "LayerExit":
        """Read it."""
        groups = entry.child("pq")
        loss, milliseconds, time = (Estimate.read(entry.child(name)) for name in ("loss", "milliseconds", "time"))
        pq = {group: Estimate.read(groups.child(group)) for group in groups.values}
        return cls(entry.text("name"), pq, loss, milliseconds, time)


@dataclass(frozen=True)
class EarlyExit:
    """PQ against time by the number of mask decoder layers, from the first to all of them."""

    images: int
    batch_size: int
    device: str
    layers: tuple[LayerExit, ...]

    @classmethod
    def read(cls, path: Path) -> "EarlyExit":
        """Read `early_exit.json`. Raises `DatasetError` that names what is wrong with it."""
        return cls.of(read_json(path))

    @classmethod
    def of(cls, document: JsonObject) -> "EarlyExit":
        """Read it, also as a part of another document."""
        return cls(
            images=document.integer("images"),
            batch_size=document.integer("batch_size"),
            device=document.text("device"),
            layers=tuple(map(LayerExit.read, document.objects("layers"))),
        )

    def encode(self) -> bytes:
        """Encode it as the file that `read` reads."""
        return encode_json(asdict(self))
