"""Export a trained network and check the files against it (see the package)."""

import argparse
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from model.export import checking, files
from model.export.inference_network import InferenceNetwork
from model.export.sizes import Sizes
from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings, require_mask_layer
from model.network.panoptic_segformer import PanopticSegFormer
from model.published import PUBLISHED, PublishedModel
from model.weights.checkpoint import Checkpoint, load_checkpoint
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.passport.results import read_parent, seal_export
from panoptic.runtime.cli import run_command
from panoptic.runtime.settings import read_section


def main(arguments: Sequence[str] | None = None) -> None:
    """Export one network."""
    options = _parser().parse_args(arguments)
    for library in ("torch.onnx", "onnxscript"):  # they warn about optional packages that are not needed
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch copies its own graphs
    run_command(lambda: _export(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.export", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="safetensors file that stages.train wrote")
    source.add_argument("--random", choices=PUBLISHED, help="use random weights of this published network, for a trial")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--format", choices=(*files.FILES, "both"), default="both", help="files to write")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--size", help="HEIGHTxWIDTH in pixels of all images")
    size.add_argument("--dynamic", action="store_true", help="any size and number of images")
    checked = parser.add_mutually_exclusive_group()
    checked.add_argument("--images", type=Path, nargs="+", help="images to check with")
    checked.add_argument("--index", type=Path, help="index whose first images to check with")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings; section 'predict' is read")
    return parser


def _export(options: argparse.Namespace) -> None:
    formats = tuple(files.FILES) if options.format == "both" else (options.format,)
    if "onnx" in formats:
        files.require_onnx()
    files.require_no_other(options.out, formats)
    fixed = Sizes.parse(options.size) if options.size else None
    settings = read_section(options.params, "predict", InferenceSettings)
    checkpoint = load_checkpoint(options.model) if options.model else random_checkpoint(PUBLISHED[options.random])
    require_mask_layer(settings, checkpoint.config)
    parent = read_parent(options.model) if options.model else None
    sizes = fixed or Sizes.dynamic(checkpoint.config)
    shown = _images(options, sizes, settings)
    network = InferenceNetwork(checkpoint.network, settings.mask_layer)
    description = files.describe(checkpoint, network, sizes, settings)
    _say("tracing the network, which may take minutes")
    program = files.trace(network, sizes)
    with write_together() as written:  # no file replaces an older one before all of them are checked
        names = (*(files.FILES[name] for name in formats), files.DESCRIPTION)
        new = {name: written.file(options.out / name) for name in names}
        written.require([options.out / files.PASSPORT])
        if "torch" in formats:
            path = new[files.TORCH_FILE]
            _say(f"writing {files.TORCH_FILE}")
            files.save_torch(program, path)
            _check(files.TORCH_FILE, network, checking.load_torch(path), shown, settings.merging)
        if "onnx" in formats:
            path = new[files.ONNX_FILE]
            _say(f"writing {files.ONNX_FILE}, which may take minutes")
            files.save_onnx(program, network, description, path)
            _check(files.ONNX_FILE, network, checking.load_onnx(path), shown, settings.merging)
        written.write(options.out / files.DESCRIPTION, description.encode())
        passport = seal_export(options.params, parent, new)
        written.write(options.out / files.PASSPORT, encode_json(passport.to_json()))
    print(f"written to {options.out}; {files.DESCRIPTION} describes the input and the outputs")


def _say(step: str) -> None:
    """Print what begins now, at once, also where the output is a file."""
    print(f"{step} ...", flush=True)


def _images(options: argparse.Namespace, sizes: Sizes, settings: InferenceSettings) -> list[checking.Image]:
    if options.images:
        found = checking.from_files(options.images)
    elif options.index:
        found = checking.from_index(options.index)
    else:
        return [checking.resized(image, sizes.fixed) if sizes.fixed else image for image in checking.noise()]
    return [checking.fitted(image, sizes, settings.shorter, settings.longer) for image in found]


def _check(
    name: str,
    network: InferenceNetwork,
    program: checking.Program,
    shown: Sequence[checking.Image],
    merging: MergingSettings,
) -> None:
    """Print how an exported file compares with the network in eager mode.

    Raises:
        ExportError: their results differ.
    """
    _say(f"comparing {name} with the network, and timing both")
    for image in shown:
        comparison = checking.compare_program(network, program, image, merging)
        print(f"  {comparison.line()}")
        comparison.require(name)
    median, least, largest = checking.time_ratio(network, program, shown)
    print(
        f"  {median:.2f} times as fast as the network ({least:.2f} to {largest:.2f}), {torch.get_num_threads()} threads"
    )


def random_checkpoint(model: PublishedModel) -> Checkpoint:
    """Make a network with seeded random weights, and names for its classes."""
    torch.manual_seed(0)
    things, stuff = (
        tuple(Category(first + index, f"{group} {index}", group == "thing", (0, 0, 0)) for index in range(count))
        for group, first, count in (("thing", 1, model.num_things), ("stuff", 1 + model.num_things, model.num_stuff))
    )
    network = PanopticSegFormer(model.config, len(things), len(stuff)).eval()
    return Checkpoint(model.config, CategoryTable(things, stuff), {"weights": "random"}, network)


if __name__ == "__main__":
    main()
