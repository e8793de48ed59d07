"""Fast inference gives the results of the naive one."""

import numpy as np
import torch

from benchmarks.baselines import naive_inference
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.network.queries import top_queries
from tests.model.network.tiny_network import random_tensor, tiny_network


@torch.no_grad()
def test_the_whole_network_gives_the_same_image() -> None:
    network, images = tiny_network().eval(), random_tensor(1, 3, 48, 64)
    settings = MergingSettings(score_threshold=0, mask_threshold=0.1, overlap_things=0.9, overlap_stuff=0.9)
    (ids, segments), masks = naive_inference.merge_output(naive_inference.forward(network, images), (30, 41), settings)
    output = network(images, None, top_queries(network.config.selected_queries), auxiliary=False)
    (prediction,) = predict_panoptic(output, [ImageSizes((48, 64), (48, 64), (30, 41))], settings)
    assert len(np.unique(ids)) > 3
    assert (prediction.ids == ids).mean() > 0.99
    assert [one.label for one in prediction.segments] == [one.label for one in segments]
    assert (prediction.instances.masks == masks).mean() > 0.99
