"""What the command `panoptic export` does, apart from its parser: see `__main__`."""

import argparse
import logging
import warnings
from collections.abc import Sequence

import torch

from model.export import checking, files
from model.export.inference_network import InferenceNetwork
from model.export.sizes import Sizes
from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings, require_mask_layer
from model.network.panoptic_segformer import PanopticSegFormer
from model.published import PUBLISHED
from model.weights.checkpoint import Checkpoint, load_checkpoint
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.passport.results import read_parent, seal_export
from panoptic.runtime.settings import read_section


def export(options: argparse.Namespace) -> None:
    """Export the network that the options name, and check each file against it."""
    for library in ("torch.onnx", "onnxscript"):  # they warn about optional packages that are not needed
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch copies its own graphs
    formats = tuple(files.FILES) if options.format == "both" else (options.format,)
    if "onnx" in formats:
        files.require_onnx()
    files.require_no_other(options.out, formats)
    fixed = Sizes.parse(options.size) if options.size else None
    settings = read_section(options.params, "predict", InferenceSettings)
    checkpoint = load_checkpoint(options.model) if options.model else random_checkpoint(options.random)
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


def random_checkpoint(name: str) -> Checkpoint:
    """Make a published network with seeded random weights, and names for its classes.

    Raises:
        ValueError: there is no such network.
    """
    if name not in PUBLISHED:
        raise ValueError(f"--random {name}: there is no such published network; choose from {', '.join(PUBLISHED)}")
    model = PUBLISHED[name]
    torch.manual_seed(0)
    things, stuff = (
        tuple(Category(first + index, f"{group} {index}", group == "thing", (0, 0, 0)) for index in range(count))
        for group, first, count in (("thing", 1, model.num_things), ("stuff", 1 + model.num_things, model.num_stuff))
    )
    network = PanopticSegFormer(model.config, len(things), len(stuff)).eval()
    return Checkpoint(model.config, CategoryTable(things, stuff), {"weights": "random"}, network)
