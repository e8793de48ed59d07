"""Methods to segment one image, from the tensor to the panoptic result, with random weights.

Random weights find nothing to merge, so `made_output` makes masks for measuring the merging.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.baselines import naive_inference, transformers_models
from model.inference.bit_masks import Size
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.inference.predictor import inference_forward
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.outputs import MaskOutput, PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.published.models import COCO_STUFF, COCO_THINGS

OURS: Mapping[str, InferenceSettings] = {
    "ours": InferenceSettings(),
    "ours, contiguous": InferenceSettings(channels_last=False),
    "ours, bfloat16": InferenceSettings(precision="bfloat16"),
    "ours, compiled": InferenceSettings(compile=True),
    "ours, compiled, bfloat16": InferenceSettings(compile=True, precision="bfloat16"),
}
BASELINES = ("Mask2Former (transformers)", "DETR (transformers)")
METHODS = ("naive", *OURS, *BASELINES)
OWN = ("naive", "ours")
"""Methods whose parts can be timed separately."""
BY_DEFAULT = (*OWN, "ours, bfloat16", "ours, compiled", *BASELINES)


@dataclass(frozen=True)
class Method:
    """A network, and a function that runs it with its post-processing on an image (1, 3, H, W)."""

    network: nn.Module
    run: Callable[[Tensor], object]


def made_network(config: NetworkConfig, device: torch.device) -> PanopticSegFormer:
    """Make a seeded network for COCO's classes, in evaluation mode."""
    torch.manual_seed(0)
    return PanopticSegFormer(config, COCO_THINGS, COCO_STUFF).eval().to(device)


def make_method(name: str, config: NetworkConfig, size: Size, device: torch.device) -> Method:
    """Make one of `METHODS` for images of a size; `config` configures our own network."""
    if name in BASELINES:
        return _baseline(name, size, device)
    network = made_network(config, device)
    if name == "naive":
        return Method(network, lambda images: merge_naively(naive_inference.forward(network, images), size))
    forward = inference_forward(network, OURS[name])
    return Method(network, lambda images: merge_ours(forward(images), size))


def merge_ours(output: PanopticOutput, size: Size) -> object:
    """Run our post-processing, with everything that the predict stage takes from it."""
    (prediction,) = predict_panoptic(output, [ImageSizes(size, size, size)], MergingSettings())
    return prediction.ids, prediction.segments, prediction.instances.masks


def merge_naively(output: PanopticOutput, size: Size) -> object:
    """Run the same post-processing mask by mask."""
    return naive_inference.merge_output(output, size, MergingSettings())


def _baseline(name: str, size: Size, device: torch.device) -> Method:
    """Make a network of `transformers` with a ResNet-50 and its own panoptic post-processing."""
    # Imported here, as the other methods do not need them.
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    classes = COCO_THINGS + COCO_STUFF
    is_detr = name.startswith("DETR")
    network = (
        (transformers_models.panoptic_detr(classes) if is_detr else transformers_models.mask2former(classes))
        .eval()
        .to(device)
    )
    processor = DetrImageProcessorPil() if is_detr else Mask2FormerImageProcessorPil()
    finish = processor.post_process_panoptic_segmentation
    return Method(network, lambda images: finish(network(pixel_values=images), target_sizes=[size]))


def made_output(output: PanopticOutput) -> PanopticOutput:
    """Give an output masks like a trained network's: ellipses, a fifth of the things and six stuff classes sure."""
    assert output.stuff is not None
    things, stuff = output.query_masks.masks[-1, 0], output.stuff.masks[-1, 0]
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(len(things), generator=generator).pow(4).sort(descending=True).values
    logits = torch.full((len(stuff),), -4.0).index_fill(0, torch.randperm(len(stuff), generator=generator)[:6], 3.0)
    return replace(
        output,
        selection=replace(output.selection, scores=scores[None].to(things)),
        query_masks=MaskOutput(_ellipses(things, 0.05, 0.25, generator)[None, None], output.query_masks.queries),
        stuff=MaskOutput(_ellipses(stuff, 0.2, 0.5, generator)[None, None], output.stuff.queries),
        stuff_logits=logits[None, None].to(stuff),
    )


def _ellipses(like: Tensor, smallest: float, largest: float, generator: torch.Generator) -> Tensor:
    """Make masks (N, h, w) of about 1 inside random ellipses and 0 outside; half axes are fractions of the image."""
    count, height, width = like.shape
    centers = torch.rand(count, 2, 1, 1, generator=generator)
    axes = smallest + (largest - smallest) * torch.rand(count, 2, 1, 1, generator=generator)
    rows, columns = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    distance = (((rows - centers[:, 0]) / axes[:, 0]) ** 2 + ((columns - centers[:, 1]) / axes[:, 1]) ** 2).sqrt()
    return ((1.2 - distance) * 4).clamp(0, 1).to(like)
