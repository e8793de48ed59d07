"""Conversion of a published checkpoint to ours and back. Our weights come with two files: a JSON and the sidecar."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, add_checkpoint, load_checkpoint
from model.weights.description import Description
from model.weights.loading.layout import OfficialLayoutError, listed
from model.weights.loading.transfer import Transferred, transfer
from model.weights.official.classes import (
    ClassCounts,
    coco_categories,
    config_for,
    require_classes,
    trained_classes,
)
from model.weights.official.models import (
    CONFIGS,
    expected_entries,
    identify,
    model_of,
    published_inference,
    recognize,
)
from model.weights.official.names import UNUSED, from_official, official_key, to_official, without_unused
from model.weights.official.pth import read_pth, write_pth
from model.weights.official.sidecar import Sidecar, SidecarError, encode_sidecar, load_sidecar, sidecar_path
from panoptic.format.categories import CategoryTable
from panoptic.io.files import write_together

SEED = 0  # of the heads that are re-initialized


@dataclass(frozen=True)
class Converted:
    """A network from a published checkpoint, and the rest of the checkpoint."""

    checkpoint: Checkpoint
    sidecar: Sidecar
    transferred: Transferred
    left_out: tuple[str, ...]  # parts of the file other than weights and metadata
    remarks: tuple[str, ...]  # on weights and names that are not as published


def convert(
    path: Path,
    model: str | None = None,
    categories: CategoryTable | None = None,
    reinitialize: bool = False,
    average: bool = False,
    released: bool = False,
) -> Converted:
    """Read a published checkpoint into our network.

    Args:
        path: `.pth` file.
        model: key of `CONFIGS`; None: the one that the entries fit.
        categories: classes of the network; None: COCO's.
        reinitialize: replace heads of other classes by newly initialized ones, and leave out what has no class.
        average: take the moving average of the weights (EMA) that the file holds beside them.
        released: the heads are those of COCO's classes; otherwise `categories` of equal number are taken for theirs,
            unless heads are to be re-initialized.

    Raises:
        ValueError: the file cannot be read, is of another model, has values that are not finite, or heads of other
            classes.
    """
    pth = read_pth(path, average)
    model = model or identify(pth.state)
    recognized = recognize(pth.state, model, str(path))
    pth = replace(pth, state=recognized.state)
    used = without_unused(pth.state)
    _require_finite(used, path)
    published, counts, table = CONFIGS[model], ClassCounts.of_official(used), categories or coco_categories()
    weights = from_official(published.backbone, used, expected_entries(published, counts))
    trained = Description(published, trained_classes(counts, table, released or reinitialize), {})
    if not reinitialize:
        require_classes(weights, trained.categories, table, str(path))
    config = config_for(published, table)
    network = _new_network(config, table)
    transferred = transfer(weights, trained, network, table, str(path))
    network.load_state_dict(transferred.state)
    initial = ", ".join(transferred.initial)
    provenance = {"source": path.name, "sha256": pth.sha256, "model": model, "reinitialized": initial}
    dropped = {official_key(key, config.backbone) for key in transferred.dropped}
    unused = {name: tensor for name, tensor in pth.state.items() if name not in used or name in dropped}
    remarks = [f"taken: {pth.taken}"] if pth.taken else []
    if types := {str(tensor.dtype).removeprefix("torch.") for tensor in used.values() if _is_short(tensor)}:
        remarks.append(f"{' and '.join(sorted(types))} values, which are less precise, became float32")
    remarks += _assumption(trained.categories)
    if config.stuff != published.stuff:
        remarks.append(f"for these classes the network has, and params.yaml needs, model: {{stuff: {config.stuff}}}")
    return Converted(
        checkpoint=Checkpoint(config, table, provenance, network, inference=published_inference(published)),
        sidecar=Sidecar.of(pth, unused),
        transferred=transferred,
        left_out=pth.left_out,
        remarks=(*remarks, *recognized.lines()),
    )


def _assumption(trained: CategoryTable) -> Iterator[str]:
    """Remark that the classes given are believed to be those of the heads, where COCO's would fit as well."""
    coco, counts = coco_categories(), (len(trained.things), len(trained.stuff))
    names = [category.name for category in trained]
    if counts == (len(coco.things), len(coco.stuff)) and names != [category.name for category in coco]:
        yield (
            f"the heads are taken for those of the {counts[0]} thing and {counts[1]} stuff classes given, in the order "
            "of their ids; if the checkpoint was trained on COCO's classes, which are as many, add --reinitialize"
        )


def _new_network(config: NetworkConfig, table: CategoryTable) -> PanopticSegFormer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return PanopticSegFormer(config, len(table.things), len(table.stuff)).eval()


def save_converted(out: Path, converted: Converted) -> None:
    """Write weights, JSON and sidecar, all complete or none."""
    with write_together() as files:
        files.write(sidecar_path(out), encode_sidecar(converted.sidecar))
        add_checkpoint(files, out, converted.checkpoint)


def convert_back(weights: Path, out: Path, model: str | None = None, without_unused_parts: bool = False) -> int:
    """Write our weights as a published checkpoint, and return the number of its entries.

    Args:
        weights: our `.safetensors` file.
        out: `.pth` file to write.
        model: expected model of the weights; None: any.
        without_unused_parts: do without the sidecar: leave out unused entries, and keep our network's order.

    Raises:
        ValueError: the weights are of another model, or there is no matching sidecar.
    """
    checkpoint = load_checkpoint(weights)
    backbone = checkpoint.config.backbone
    if model is not None and CONFIGS[model].backbone != backbone:
        raise OfficialLayoutError(f"{weights}: is {model_of(backbone) or backbone}, not {model}; correct --model")
    used = to_official(backbone, checkpoint.network.state_dict())
    if without_unused_parts:
        write_pth(out, used, {})
        return len(used)
    sidecar = _sidecar_of(weights, checkpoint.provenance.get("sha256", ""))
    entries = sidecar.complete(used)
    write_pth(out, entries, sidecar.meta)
    return len(entries)


def _sidecar_of(weights: Path, source: str) -> Sidecar:
    path = sidecar_path(weights)
    if not path.is_file():
        parts = "; ".join(f"{part}* ({what})" for part, what in UNUSED.items())
        raise SidecarError(
            f"{path} is missing. It keeps the order and types of all entries, and those that nothing uses: {parts}. "
            "Put it there, or write without it: --without-unused"
        )
    sidecar = load_sidecar(path)
    if sidecar.source != source:
        raise SidecarError(
            f"{path} belongs to another published file than {weights} (SHA-256 {sidecar.source} and "
            f"{source or 'unknown'}); put the right one there, or write without it: --without-unused"
        )
    return sidecar


def _is_short(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.itemsize < torch.float32.itemsize


def _require_finite(state: Mapping[str, Tensor], path: Path) -> None:
    issues = {
        name: f"{int((~tensor.isfinite()).sum())} of {tensor.numel()} values"
        for name, tensor in state.items()
        if tensor.is_floating_point() and not tensor.isfinite().all()
    }
    if issues:
        raise OfficialLayoutError(
            "\n".join([f"{path}: weights that are not finite; take another checkpoint:", *listed(issues)])
        )
