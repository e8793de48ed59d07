"""Devices that a user names."""

import pytest
import torch

from model.device import usable_device


@pytest.mark.parametrize(
    "name", ["gpu", "meta", "cuda:99", "cpu:7", "xpu", "hpu", "mps", "vulkan", "xla", "privateuseone", ""]
)
def test_a_device_that_cannot_compute_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^device '{name}' cannot be used \(.+\); choose from cpu"):
        usable_device(name)


def test_a_device_that_can_is_returned() -> None:
    assert usable_device("cpu") == torch.device("cpu")
    assert usable_device("cpu:0").type == "cpu"
