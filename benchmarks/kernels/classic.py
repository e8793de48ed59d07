"""Compiles the classic CUDA kernels by NVRTC, which needs no GPU and no headers."""

from pathlib import Path

from benchmarks.gpu import classic_cuda
from benchmarks.kernels.cubin import KernelUsage, read_cubin

SOURCE = Path(classic_cuda.__file__).with_name("kernels.cu")


def unavailable() -> str | None:
    """Return why NVRTC cannot be used; None if it can. It comes with PyTorch for CUDA, in requirements.lock."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        return f"NVRTC is missing (pip install cuda-bindings nvidia-cuda-nvrtc, some 100 MB): {reason}"
    return None


def compile_classic(capability: int, source: bytes | None = None) -> dict[str, KernelUsage]:
    """Compile the kernels of kernels.cu, or of another source, for a compute capability.

    Raises:
        ValueError: the compiler refuses them; has its message.
    """
    from cuda.bindings import nvrtc

    _, program = nvrtc.nvrtcCreateProgram(source or SOURCE.read_bytes(), SOURCE.name.encode(), 0, [], [])
    options = [f"--gpu-architecture=sm_{capability}".encode()]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
        nvrtc.nvrtcGetProgramLog(program, log)
        raise ValueError(f"NVRTC does not compile {SOURCE} for sm_{capability}: {log.decode().rstrip(chr(0))}")
    cubin = bytearray(nvrtc.nvrtcGetCUBINSize(program)[1])
    nvrtc.nvrtcGetCUBIN(program, cubin)
    return read_cubin(cubin)
