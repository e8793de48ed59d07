"""Warps that a multiprocessor holds at once: what NVIDIA's cuda_occupancy.h computes, for the targets of the page.

Limits are those of the table "Technical Specifications per Compute Capability" of the CUDA C++ Programming Guide. The
formula is that of cudaOccMaxActiveBlocksPerMultiprocessor, a header of CUDA and of Triton's wheel; a test compiles it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

WARP = 32
MOST_WARPS, MOST_BLOCKS = 64, 32
REGISTERS, REGISTER_UNIT = 65536, 256  # of 32 bits; a warp gets multiples of the unit
QUARTERS = 4  # a warp's registers are those of one quarter of the multiprocessor
SHARED_UNIT, RESERVED_SHARED = 128, 1024  # bytes, of every block
SHARED: Mapping[int, int] = MappingProxyType({80: 164 * 1024, 90: 228 * 1024, 100: 228 * 1024})
"""Bytes of shared memory by compute capability, which is the only limit in which these differ."""


@dataclass(frozen=True)
class Occupancy:
    """Warps per multiprocessor, of 64, and the resource that allows no more of them."""

    warps: int
    limit: str


def occupancy(capability: int, registers: int, warps: int, shared: int) -> Occupancy:
    """Compute the occupancy of blocks.

    Args:
        capability: 80, 90 or 100.
        registers: of each thread.
        warps: of a block.
        shared: bytes that a block asks for.

    Raises:
        ValueError: another capability.
    """
    if capability not in SHARED:
        raise ValueError(f"no limits are known of sm_{capability}; expected one of {', '.join(map(str, SHARED))}")
    of_warp = _round_up(registers * WARP, REGISTER_UNIT)
    blocks = {
        "warps": MOST_WARPS // warps,
        "blocks": MOST_BLOCKS,
        "registers": REGISTERS // QUARTERS // of_warp * QUARTERS // warps,
        "shared memory": SHARED[capability] // _round_up(shared + RESERVED_SHARED, SHARED_UNIT),
    }
    limit = min(blocks, key=blocks.__getitem__)
    return Occupancy(blocks[limit] * warps, limit)


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
