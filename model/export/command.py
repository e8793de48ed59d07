"""The work of the command `panoptic export`, whose parser is in `__main__`."""

import argparse
import logging
import warnings

import torch

from model.export import check_images, checking, files
from model.export.check_images import LabeledImages
from model.export.inference_network import InferenceNetwork
from model.export.sizes import ExportError, Sizes
from model.export.writing import Exported, say
from model.inference.merging import MergingSettings
from model.inference.predictor import NetworkInput
from model.inference.settings import InferenceSettings, require_mask_layer
from model.network.families import build_network
from model.published.models import PUBLISHED
from model.weights.checkpoint import Checkpoint, load_checkpoint
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.files import write_together
from panoptic.io.json_fields import encode_json
from panoptic.passport.results import read_parent, seal_export
from panoptic.runtime.settings import flat_settings, read_section, read_values


def export(options: argparse.Namespace) -> None:
    """Export the network that the options name, and check each file against it."""
    for library in ("torch.onnx", "onnxscript"):  # they warn about optional packages that are not needed
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch copies its own graphs
    formats = [*(("torch", "onnx") if options.format == "both" else [options.format]), *["int8"] * options.int8]
    ending = options.outputs if "onnx" in formats else files.RAW
    if "onnx" in formats:
        files.require_onnx()
    if options.int8:
        _require_int8_options(options)
    files.require_no_other(options.out, formats)
    fixed = Sizes.parse(options.size) if options.size else None
    checkpoint = load_checkpoint(options.model) if options.model else random_checkpoint(options.random)
    settings = _settings(options, checkpoint)
    if ending == files.PANOPTIC:
        _require_merging_by_mask(settings.merging)
    require_mask_layer(settings, checkpoint.config)
    parent = read_parent(options.model) if options.model else None
    sizes = fixed or Sizes.dynamic(checkpoint.config, checkpoint.network.side_multiple)
    shown = _images(options, sizes, settings)
    labeled = _labeled(options, sizes, settings, checkpoint.categories)
    network = InferenceNetwork(checkpoint.network, settings.mask_layer)
    exported = Exported(network, checkpoint.categories, settings.merging, shown)
    description = files.describe(checkpoint, network, sizes, settings, ending)
    names = [*(files.FILES[name] for name in formats), files.DESCRIPTION]
    with write_together() as written:  # no file replaces an older one before all of them are checked
        new = {name: written.file(options.out / name) for name in names}
        written.require([options.out / files.PASSPORT])
        say("tracing the network, which may take minutes")
        program = files.trace(network, sizes)
        checking.require_finite(network, shown[0])
        if files.TORCH_FILE in new:
            exported.write_torch(program, new[files.TORCH_FILE])
        if files.ONNX_FILE in new:
            exported.write_onnx(program, new[files.ONNX_FILE], ending, description)
        if labeled:
            exported.write_int8(new[files.ONNX_FILE], new[files.INT8_FILE], ending, labeled, options.max_pq_loss)
        written.write(options.out / files.DESCRIPTION, description.encode())
        values = read_values(options.params) if options.params else dict(flat_settings({"predict": settings}))
        written.write(options.out / files.PASSPORT, encode_json(seal_export(values, parent, new).to_json()))
    print(f"written to {options.out}; {files.DESCRIPTION} describes the input and the outputs")


def _settings(options: argparse.Namespace, checkpoint: Checkpoint) -> InferenceSettings:
    """Return the settings of the file given with --params, or else those in the weights.

    Raises:
        ExportError: there are none.
    """
    if options.params:
        return read_section(options.params, "predict", InferenceSettings)
    if checkpoint.inference is None:
        raise ExportError(
            f"{options.model}: an earlier version wrote these weights, without the size of images that they need; give "
            "--params with the settings that they were trained with"
        )
    return checkpoint.inference


def _require_merging_by_mask(merging: MergingSettings) -> None:
    if merging.method != "mask":
        raise ExportError(
            f"predict.merging.method is {merging.method!r}, but an ONNX file merges by 'mask' alone; give --outputs "
            "raw, whose outputs this project merges by any method, or set it to 'mask'"
        )


def _images(options: argparse.Namespace, sizes: Sizes, settings: InferenceSettings) -> list[NetworkInput]:
    if options.images:
        found = check_images.from_files(options.images)
    elif options.index:
        found = check_images.from_index(options.index)
    else:
        return [check_images.resized(image, sizes.fixed) if sizes.fixed else image for image in check_images.noise()]
    return [sizes.fit(image.pixels, image.name, settings.shorter, settings.longer) for image in found]


def _require_int8_options(options: argparse.Namespace) -> None:
    """Check that the options go together.

    Raises:
        ExportError: they do not.
    """
    if options.format == "torch" or options.index is None:
        raise ExportError("--int8 makes an ONNX file and measures its PQ; give --format onnx or both, and --index")
    if not 0 <= options.max_pq_loss <= 100:
        raise ExportError(f"--max-pq-loss is {options.max_pq_loss}; give points of PQ from 0 to 100")
    if options.pq_images < 0:
        raise ExportError(f"--pq-images is {options.pq_images}; give a number of images, or 0 for all")


def _labeled(
    options: argparse.Namespace, sizes: Sizes, settings: InferenceSettings, categories: CategoryTable
) -> LabeledImages | None:
    """Find the images to measure the PQ of int8 weights on; None without these."""
    if not options.int8:
        return None

    def fit(image: NetworkInput) -> NetworkInput:
        return sizes.fit(image.pixels, image.name, settings.shorter, settings.longer)

    return check_images.labeled(options.index, options.pq_images, categories, fit)


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
    network = build_network(model.config, len(things), len(stuff)).eval()
    return Checkpoint(
        model.config, CategoryTable(things, stuff), {"weights": "random"}, network, inference=InferenceSettings()
    )
