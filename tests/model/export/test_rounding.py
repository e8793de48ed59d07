"""A query that rounding moves by much is no reason to refuse a file, and excuses no other query."""

import pytest
import torch
from torch import Tensor

from model.export import check_images
from model.export.checking import BOUND, compare_program, require_finite
from model.export.inference_network import InferenceNetwork
from model.export.onnx_inference import normalized
from model.export.sizes import ExportError
from tests.model.export.test_export import CONFIG, MERGING
from tests.model.network.tiny_network import tiny_network

IMAGE = check_images.noise()[0]
GAIN = 2000.0


class Sensitive(InferenceNetwork):
    """A network whose first mask has a difference of large numbers in it, which is 0 for `IMAGE`."""

    def __init__(self) -> None:
        super().__init__(tiny_network(CONFIG).eval())
        self.pixel = normalized([IMAGE])[0, 0, 0, 0]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Add `GAIN` times the change of a pixel."""
        found = dict(zip((output.name for output in self.outputs), super().forward(images), strict=True))
        first = (torch.arange(CONFIG.selected_queries) == 0)[:, None, None]
        found["masks"] = found["masks"] + first * GAIN * (images[0, 0, 0, 0] - self.pixel)
        return tuple(found.values())


def compare(query: int, difference: float) -> None:
    """Compare the network with a program in which the mask of a query differs, in units of the bound."""
    network = Sensitive()

    @torch.no_grad()
    def program(images: Tensor) -> tuple[Tensor, ...]:
        labels, probabilities, masks, *others = network(images)
        changed = masks.clone()
        changed[0, query, 0, 0] += difference * BOUND * max(1.0, float(masks.max()))
        return labels, probabilities, changed, *others

    compare_program(network, program, IMAGE, MERGING).require("x.onnx")


def test_a_query_may_differ_as_far_as_noise_moves_it() -> None:
    compare(query=0, difference=2)


@pytest.mark.parametrize(("query", "difference"), [(0, 50), (1, 2)])
def test_beyond_that_and_elsewhere_the_file_is_refused(query: int, difference: float) -> None:
    with pytest.raises(ExportError, match=r"x\.onnx differs from the network by more than 0\.001 .*\(masks\)"):
        compare(query, difference)


def test_a_network_that_computes_no_numbers_is_not_exported() -> None:
    """Where no query has a number, none matches, none is missing, and two maps of void would be equal."""
    network = Sensitive()
    require_finite(network, IMAGE)
    with torch.no_grad():
        network.network.get_parameter("query_masks.tail.k.weight").fill_(3e38)
    with pytest.raises(
        ExportError, match="the network's masks are NaN or infinite for noise 1, so nothing was written"
    ):
        require_finite(network, IMAGE)
