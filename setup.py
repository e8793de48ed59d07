"""Builds the compiled parts, each from the one file of its name; without them all works, only slower."""

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

setup(
    ext_modules=[
        # Optional: a machine without a compiler is told and goes on. No flags of one processor: files may be shared.
        Pybind11Extension(
            f"{folder}.{name}".replace("/", "."),
            [f"{folder}/{name}.cpp"],
            cxx_std=17,
            extra_compile_args=["-O3"],
            optional=True,
        )
        for folder, name in (
            ("panoptic/evaluation", "_overlaps"),
            ("panoptic/io", "_png"),
            ("model/ops", "_ms_deform_attn"),
        )
    ]
)
