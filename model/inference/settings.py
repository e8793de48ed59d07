"""Settings of inference, which also travel with the weights that they belong to."""

from dataclasses import dataclass, field
from typing import Annotated

from model.device import PRECISIONS
from model.inference.merging import MergingSettings, require_our_method
from model.network.config import NetworkConfig
from panoptic.runtime.ranges import BatchSize, Count, OneOf, Side, require_ranges


@dataclass(frozen=True)
class InferenceSettings:
    """The `predict` section of params.yaml; the defaults are the published values.

    `shorter` and `longer` bound the image's sides in pixels; the first `images` results are also drawn.
    `mask_layer`: block of the mask decoders whose masks are used, counted from 1 (table 10); 0 means the final masks.
    `precision`: float32; bfloat16 for everything but boxes and merging; auto: bfloat16 on GPUs that support it.
    `compile`: use torch.compile, separately for each of the first eight image sizes (torch 2.13 fails on symbolic
    sizes), and run other sizes uncompiled. Each takes a minute or more, which pays off only for many images.
    `channels_last`: memory layout of images and backbone that makes convolutions faster; results stay the same.
    """

    shorter: Side = 800
    longer: Side = 1333
    batch_size: BatchSize = 1
    images: Count = 0
    mask_layer: Count = 0
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"
    compile: bool = False
    channels_last: bool = True
    merging: MergingSettings = field(default_factory=MergingSettings)

    def __post_init__(self) -> None:
        """Reject sizes that no image can have, and unknown precisions."""
        require_ranges(self, "predict")
        if self.shorter > self.longer:
            raise ValueError(
                f"predict.shorter is {self.shorter}, but predict.longer is {self.longer}; give shorter <= longer"
            )


def require_mask_layer(settings: InferenceSettings, config: NetworkConfig) -> None:
    """Check that the network has the layer that masks are to be read from, and that masks are merged by our methods.

    Raises:
        ValueError: it does not, or they are not.
    """
    require_our_method(settings.merging)
    if settings.mask_layer > config.mask_layers:
        found = f"the mask decoders have {config.mask_layers} layers; give one of them, or 0 for the final masks"
        if not config.mask_layers:
            found = "the mask head 'fpn' has no layers; set it to 0"
        raise ValueError(f"predict.mask_layer is {settings.mask_layer}, but {found}")
