"""Stages start without the packages that only some of their work needs."""

import subprocess
import sys

import pytest

HEAVY = {
    "huggingface_hub",
    "matplotlib",
    "onnx",
    "scipy",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.fsdp",
    "transformers",
    "triton",
}
BUILD_TINY = (
    "from model.network.config import NetworkConfig\n"
    "from model.network.panoptic_segformer import PanopticSegFormer\n"
    "PanopticSegFormer(NetworkConfig(backbone='tiny', frozen_stages=0), 3, 2)"
)


@pytest.mark.parametrize(
    "code", ["import stages.predict", "import stages.train", BUILD_TINY], ids=["predict", "train", "tiny"]
)
def test_nothing_heavy_is_imported(code: str) -> None:
    command = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
