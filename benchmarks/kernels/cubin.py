"""What a compiled kernel needs, read from its machine code by the tool that Triton's wheel has for it."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

_USAGE = re.compile(r"Function (\w+):\s+REG:(\d+) STACK:(\d+)")
_CODE = re.compile(r"Function : (\w+)(.*?)(?=Function : |\Z)", re.DOTALL)
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?!NOP)")


@dataclass(frozen=True)
class KernelUsage:
    """Registers of a thread, bytes of its stack, which hold spilled registers, and instructions of the code."""

    registers: int
    spilled: int
    instructions: int


def read_cubin(cubin: bytes | bytearray) -> dict[str, KernelUsage]:
    """Read the usage of every kernel of a module by its name.

    Raises:
        ValueError: the tool does not know the file.
    """
    from triton import knobs

    with NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", "-sass", file.name]
        read = subprocess.run(command, capture_output=True, text=True)
    if read.returncode:
        raise ValueError(f"{command[0]} cannot read a compiled kernel: {read.stderr.strip()}")
    code = {name: len(_INSTRUCTION.findall(body)) for name, body in _CODE.findall(read.stdout)}
    return {
        name: KernelUsage(int(registers), int(stack), code[name])
        for name, registers, stack in _USAGE.findall(read.stdout)
    }
