"""The part of Triton that model/ops uses; Triton ships no types."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, ParamSpec, TypeVar

from triton import knobs as knobs
from triton import language as language

P = ParamSpec("P")
R = TypeVar("R")

class _Metadata:
    shared: int

class CompiledKernel:
    asm: Mapping[str, bytes]
    metadata: _Metadata

class JITFunction(Generic[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def warmup(self, *, grid: tuple[int], **kwargs: object) -> CompiledKernel: ...
    def __getitem__(self, grid: Callable[[Mapping[str, int]], tuple[int]]) -> Callable[..., None]: ...

class Config:
    def __init__(self, kwargs: dict[str, int], num_warps: int = ...) -> None: ...

def jit(
    *, do_not_specialize: Sequence[str] = ..., noinline: bool = ...
) -> Callable[[Callable[P, R]], JITFunction[P, R]]: ...
def autotune(
    configs: Sequence[Config], key: Sequence[str], reset_to_zero: Sequence[str] = ...
) -> Callable[[JITFunction[P, R]], JITFunction[P, R]]: ...
def cdiv(x: int, y: int) -> int: ...
def next_power_of_2(n: int) -> int: ...
