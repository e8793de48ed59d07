"""Build the C++ extensions, each from one file of its name; without them everything works, but slower."""

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

setup(
    ext_modules=[
        # Optional, for machines without a compiler. No processor-specific flags, since checkouts may be shared.
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
