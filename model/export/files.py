"""Write the network as a `torch.export` file and as an ONNX file, and the JSON file that describes both."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.onnx import OnnxExporterError

from model.export.inference_network import INPUT, InferenceNetwork
from model.export.panoptic_outputs import PANOPTIC_INPUTS, PANOPTIC_OUTPUTS
from model.export.sizes import ExportError, Sizes
from model.inference.settings import InferenceSettings
from model.network.config import PANOPTIC_SEGFORMER
from model.ops.backends import using
from model.pixels import IMAGE_MEAN, IMAGE_STD
from model.weights.checkpoint import Checkpoint
from panoptic.io.files import naming_disk_errors

if TYPE_CHECKING:
    from onnxscript import ir

RAW, PANOPTIC = "raw", "panoptic"
"""What an ONNX file ends in: the outputs of the network, or the panoptic map."""
FORMATS = {"panoptic-segformer-export/1": RAW, "panoptic-segformer-export/2": PANOPTIC}
MERGING = "panoptic"
"""Key of the description under which an ONNX file that merges has its inputs and outputs."""
OPSET = 20
TORCH_FILE, ONNX_FILE, INT8_FILE = "model.pt2", "model.onnx", "model.int8.onnx"
DESCRIPTION, PASSPORT = "model.json", "passport.json"
FILES = {"torch": TORCH_FILE, "onnx": ONNX_FILE, "int8": INT8_FILE}
"""Name of the file by format."""


@torch.no_grad()
def trace(network: InferenceNetwork, sizes: Sizes) -> ExportedProgram:
    """Trace the network as a graph of standard operators, without this project's own.

    Raises:
        ExportError: torch cannot trace it.
    """
    with using("reference"), _plain_attention(network):
        try:
            return torch.export.export(
                network,
                (sizes.example(),),
                dynamic_shapes=sizes.dynamic_shapes(),
                # That levels differ in size cannot be derived from the limits, so it is checked at run time.
                prefer_deferred_runtime_asserts_over_guards=True,
            )
        except (RuntimeError, ValueError, AssertionError) as error:  # torch's own assertions on sizes too
            config = network.network.config
            traced_part = config.backbone if config.family == PANOPTIC_SEGFORMER else config.family
            traced = "{} x {}".format(*sizes.fixed) if sizes.fixed else "any size"
            raise ExportError(
                f"torch cannot trace {traced_part} for images of {traced}; give another --size. It says: "
                f"{str(error).partition(chr(10))[0]}"
            ) from error


@contextmanager
def _plain_attention(network: nn.Module) -> Iterator[None]:
    """Let backbones spell out attention: the fused kernel returns another memory layout than its ONNX form."""
    if not any(type(part).__module__.startswith("transformers.") for part in network.modules()):
        yield
        return
    from transformers import PreTrainedModel  # slow, and not needed by networks without a backbone of it

    bodies = [part for part in network.modules() if isinstance(part, PreTrainedModel)]
    before = [body.config._attn_implementation for body in bodies]
    try:
        for body in bodies:
            body.set_attn_implementation("eager")
        yield
    finally:
        for body, implementation in zip(bodies, before, strict=True):
            body.set_attn_implementation(implementation)


def save_torch(program: ExportedProgram, path: Path) -> None:
    """Write the program for `torch.export.load`."""
    with naming_disk_errors(path), path.open("wb") as file:
        torch.export.save(program, file)


def require_no_other(folder: Path, formats: Collection[str]) -> None:
    """Check that no earlier file would end up beside a description of another export.

    Raises:
        ExportError: there is one.
    """
    for name, file in FILES.items():
        if name not in formats and (path := folder / file).exists():
            raise ExportError(
                f"{path} is from an earlier export, and {DESCRIPTION} beside it would no longer describe it; remove "
                "it, export it too with --int8 or --format both, or give another --out"
            )


def require_onnx() -> None:
    """Check that the packages that ONNX needs are installed.

    Raises:
        ExportError: some are not.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}; install the project with its extra 'dev', or export torch")


def save_onnx(
    program: ExportedProgram, network: InferenceNetwork, path: Path, finish: "Callable[[ir.Model], None]"
) -> None:
    """Write the program as ONNX, with its weights.

    Args:
        program: the network, traced.
        network: what was traced.
        path: file to write.
        finish: what is to be added to the file before it is written.

    Raises:
        ExportError: torch cannot convert it.
    """
    try:
        onnx_program = torch.onnx.export(
            program,
            (),
            input_names=[INPUT],
            output_names=[output.name for output in network.outputs],
            opset_version=OPSET,
            verbose=False,
            optimize=False,  # ONNX Runtime does it on loading, and here it would take most of the time
        )
    except OnnxExporterError as error:
        raise ExportError(f"torch cannot write this network as ONNX; give --format torch. It says: {error}") from error
    assert onnx_program is not None
    finish(onnx_program.model)
    shrink(onnx_program.model)
    with naming_disk_errors(path):
        onnx_program.save(str(path), external_data=False)


def shrink(model: "ir.Model") -> None:
    """Remove what no run needs: notes of every node on its origin, which may be larger than the weights."""
    from onnxscript.ir.passes import Sequential, common

    notes = dict(model.metadata_props)
    Sequential(common.ClearMetadataAndDocStringPass(), common.RemoveUnusedNodesPass())(model)
    model.metadata_props.update(notes)


def describe(
    checkpoint: Checkpoint, network: InferenceNetwork, sizes: Sizes, settings: InferenceSettings, ending: str
) -> str:
    """Describe in JSON everything needed to use the exported files."""
    document = {
        "format": next(name for name, known in FORMATS.items() if known == ending),
        "input": {
            "name": INPUT,
            "shape": "(batch, 3, height, width) float32",
            "channels": "RGB",
            "mean": IMAGE_MEAN,
            "std": IMAGE_STD,
            "scale": "(pixel - mean) / std, pixels 0..255; no padding: images of a batch have one size",
            "sizes": sizes.to_json(),
            "resize": {"shorter": settings.shorter, "longer": settings.longer},
        },
        "outputs": [asdict(output) for output in network.outputs],
        "num_things": network.network.num_things,
        "categories": checkpoint.categories.to_json(),
        "merging": asdict(settings.merging),
        "mask_layer": settings.mask_layer,
        "provenance": checkpoint.provenance,
    }
    if ending == PANOPTIC:
        document[MERGING] = {
            "file": ONNX_FILE,
            "batch": 1,
            "inputs": [asdict(output) for output in PANOPTIC_INPUTS],
            "outputs": [asdict(output) for output in PANOPTIC_OUTPUTS],
        }
    return json.dumps(document, indent=1) + "\n"
