"""Every family keeps the protocol: any image size, no padding in masks, outputs that are checked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.families import FAMILIES, build_network
from model.network.segmenter import Segmenter
from tests.model.network.tiny_network import STUFF, THINGS, TINY

OTHERS = sorted(set(FAMILIES) - {"panoptic_segformer"})


def network_of(family: str) -> Segmenter:
    torch.manual_seed(0)
    return build_network(replace(TINY, family=family), THINGS, STUFF).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_any_size_are_segmented(family: str) -> None:
    network = network_of(family)
    for size in ((1, 1), (33, 47), (64, 64)):
        with torch.no_grad():
            output = network.segment(torch.randn(2, 3, *size))
        masks = output.query_masks.masks[-1]
        assert masks.shape[0] == 2
        assert masks.shape[-2:] == tuple(-(-side // 4) for side in size) or family == "panoptic_segformer"
        assert bool((masks >= 0).all())
        assert int(output.selection.labels.max()) < THINGS + STUFF
        descending = output.selection.scores.diff(dim=1) <= 0
        assert bool(descending.all()), "best first"


@pytest.mark.parametrize("family", OTHERS)
def test_a_network_that_diverged_is_refused(family: str) -> None:
    network = network_of(family)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "class_predictor" in name:
                parameter.fill_(float("nan"))
    predictor = Predictor(network, InferenceSettings(shorter=32, longer=32))
    image = predictor.prepare(np.zeros((32, 32, 3), np.uint8), "a.jpg")
    with pytest.raises(ValueError, match=r"the image a\.jpg: the class probabilities of the network are NaN"):
        predictor.predict([image])


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.family is 'vit'; expected one of panoptic_segformer, maskformer"):
        build_network(replace(TINY, family="vit"), THINGS, STUFF)
