"""Builds the compiled parts of panoptic/, each from the one file of its name; without them all works, only slower."""

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

setup(
    ext_modules=[
        # Optional: a machine without a compiler is told and goes on. No flags of one processor: files may be shared.
        Pybind11Extension(
            f"panoptic.{name}", [f"panoptic/{name}.cpp"], cxx_std=17, extra_compile_args=["-O3"], optional=True
        )
        for name in ("_overlaps", "_png")
    ]
)
