"""The forward passes of the network and of its mask decoder read as the paper's figure: no branch, no loop."""

import ast
import inspect
import textwrap
from collections.abc import Callable

import pytest

from model.network.encoder import EncoderLayer
from model.network.location_decoder import LocationLayer
from model.network.mask_decoder import MaskDecoder
from model.network.panoptic_segformer import PanopticSegFormer

BRANCHES = (ast.If, ast.IfExp, ast.For, ast.While, ast.Match)


@pytest.mark.parametrize(
    "function",
    [PanopticSegFormer.forward, MaskDecoder.decode_masks, EncoderLayer.forward, LocationLayer.forward],
    ids=lambda function: function.__qualname__,
)
def test_no_branch(function: Callable[..., object]) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    assert not [node for node in ast.walk(tree) if isinstance(node, BRANCHES)]
